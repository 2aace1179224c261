//! `counterfoil status`: how a running process is, part by part. Exit code 1 when it is not ready.

use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::GlobalArgs;
use super::client::{Api, ApiArgs};
use super::exit::{CliError, Exit, Outcome};
use super::output::Output;
use super::table::Table;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    api: ApiArgs,
}

/// Asks `/ready`.
///
/// # Errors
/// When nobody answers.
pub async fn run(args: StatusArgs, global: &GlobalArgs, output: Output) -> Outcome {
    let api = Api::new(args.api, global)?;
    let (status, answer) = api.send(Method::GET, "/ready", None, &[]).await?;
    let expected = matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE);
    if !expected || !answer["components"].is_object() {
        return Err(CliError::unavailable(format!(
            "/ready answers {status}: not a Counterfoil API"
        )));
    }
    output.print(&answer, human)?;
    Ok(if status == StatusCode::OK {
        Exit::Good
    } else {
        Exit::Finding
    })
}

fn human(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut table = Table::new(["component", "health", "since", "reason"]);
    for (name, component) in answer["components"].as_object().into_iter().flatten() {
        let (health, since) = (text(&component["health"]), text(&component["since"]));
        table.row([name, &health, &since, &text(&component["reason"])]);
    }
    format!("{table}\n{}\n", text(&answer["health"]))
}
