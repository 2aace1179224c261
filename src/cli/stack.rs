//! `counterfoil stack run`: the private servers alone, until Ctrl-C, for development and for the tests.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::exit::{CliError, Exit, Outcome};
use super::stop::StopSignals;
use crate::stack::{Endpoints, ServerKind, Stack, StackConfig};

#[derive(Debug, Subcommand)]
pub(super) enum StackCommand {
    /// Runs the servers (without a key process) until Ctrl-C, and prints their addresses as one line of JSON when all of them answer.
    Run,
}

/// What is printed: everything but the passwords, which are in the file it names.
#[derive(Serialize)]
struct Addresses<'a> {
    data: PathBuf,
    credentials: PathBuf,
    host: &'a str,
    postgres_port: u16,
    postgres_superuser: &'a str,
    nats_url: &'a str,
    nats_user: &'a str,
    redis_port: u16,
    pids: [(ServerKind, Option<u32>); 3],
}

impl StackCommand {
    pub async fn run(self, data: PathBuf) -> Outcome {
        let Self::Run = self;
        run(data).await.map_err(CliError::unavailable)?;
        Ok(Exit::Good)
    }
}

async fn run(data: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    let mut stop = StopSignals::listen()?;
    // A start that is given up ends what it has started.
    let stack = tokio::select! {
        stack = Stack::start(StackConfig::new(data)) => stack?,
        () = stop.asked() => return Ok(()),
    };
    println!("{}", serde_json::to_string(&addresses(&stack))?);
    stop.asked().await;
    // Asked once more, we go at once; the servers end with us.
    tokio::select! { () = stack.stop() => {}, () = stop.asked() => {} }
    Ok(())
}

fn addresses(stack: &Stack) -> Addresses<'_> {
    let Endpoints {
        host,
        postgres_port,
        postgres_superuser,
        nats_url,
        nats_user,
        redis_port,
        ..
    } = stack.endpoints();
    Addresses {
        data: stack.data_dir().to_path_buf(),
        credentials: stack.credentials_file(),
        host,
        postgres_port: *postgres_port,
        postgres_superuser,
        nats_url,
        nats_user,
        redis_port: *redis_port,
        pids: ServerKind::ALL.map(|kind| (kind, stack.pid(kind))),
    }
}
