//! `counterfoil bootstrap status | reopen`: the bootstrap token, once nobody can get in any more.
//!
//! Works on the log itself, with the signing key: whoever has these is an operator, and what is done is on record as
//! anything else.

use std::sync::Arc;

use clap::Subcommand;
use counterfoil_events::actor::Actor;
use counterfoil_events::administration::{AGGREGATE_ID, Administration, AdministrationCommand};
use counterfoil_events::command::{CommandContext, CommandError, CommandHandler, Extras, Target};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::{Database, Sequencer, SequencerOptions};
use counterfoil_events::text::Code;
use counterfoil_events::timestamp::SystemClock;
use serde::Serialize;

use super::GlobalArgs;
use super::audit::with_log;
use super::exit::{CliError, Exit, Outcome};
use super::output::Output;
use crate::config::Config;
use crate::signing::KeyFile;

#[derive(Debug, Subcommand)]
pub(super) enum BootstrapCommand {
    /// Whether the bootstrap token is refused, and how many administer
    Status,
    /// Heed it again, on every process, until an administrator takes its place anew
    #[command(
        after_help = "For an emergency: the last administrator cannot sign in any more. Example:\n  \
        counterfoil bootstrap reopen --reason issuer_lost\n\n\
        Put a new token into auth.bootstrap_token before that, unless nobody else has seen the one that is there; a \
        process reads it when it starts."
    )]
    Reopen {
        /// Why, as a stable code; it stands in the log
        #[arg(long, value_name = "CODE")]
        reason: Code,
    },
}

#[derive(Serialize)]
struct Status {
    closed: bool,
    administrators: usize,
}

#[derive(Serialize)]
struct Reopened {
    position: Option<Position>,
}

impl BootstrapCommand {
    pub fn run(self, global: &GlobalArgs, output: Output) -> Outcome {
        with_log(global, |config, database| work(self, config, database, output))
    }
}

async fn work(command: BootstrapCommand, config: Config, database: Database, output: Output) -> Outcome {
    let file = KeyFile::configured(&config).map_err(CliError::of_key)?;
    let sequencer = Sequencer::new(
        database,
        file.current().await.map_err(CliError::of_key)?,
        Arc::new(SystemClock),
        SequencerOptions::default(),
    );
    let handler = CommandHandler::<Administration>::new(sequencer.clone());
    let done = match command {
        BootstrapCommand::Status => status(&handler, output).await,
        BootstrapCommand::Reopen { reason } => reopen(&handler, reason, output).await,
    };
    sequencer.stop().await;
    done
}

async fn status(handler: &CommandHandler<Administration>, output: Output) -> Outcome {
    let loaded = handler.load_fresh(TenantId::PLATFORM, AGGREGATE_ID).await;
    let loaded = loaded.map_err(CliError::unavailable)?;
    let status = Status {
        closed: loaded.state.closed,
        administrators: loaded.state.administrators.len(),
    };
    output.print(&status, |status| {
        let said = match status.closed {
            true => "refused: an administrator has taken its place",
            false => "heeded, as far as one is configured",
        };
        format!(
            "the bootstrap token is {said}; {} administer\n",
            status.administrators
        )
    })?;
    Ok(Exit::Good)
}

async fn reopen(handler: &CommandHandler<Administration>, reason: Code, output: Output) -> Outcome {
    let context = CommandContext {
        tenant: TenantId::PLATFORM,
        actor: Actor::system("bootstrap_reopen"),
        request_id: uuid::Uuid::now_v7().to_string(),
        traceparent: None,
        causation: None,
        idempotency: None,
    };
    let target = Target::Existing(AGGREGATE_ID.to_owned());
    let command = AdministrationCommand::Reopen { reason };
    let done = handler
        .execute(&context, target, command, Extras::default())
        .await;
    let done = done.map_err(|error| match error {
        CommandError::Rejected(error) => CliError::usage(error),
        error => CliError::unavailable(error),
    })?;
    let reopened = Reopened {
        position: done.receipts.first().map(|receipt| receipt.position),
    };
    output.print(&reopened, |reopened| {
        let at = reopened.position.unwrap_or_default();
        format!(
            "recorded at position {at} of the platform's log: every process heeds its configured bootstrap token again.\n\
             Let an administrator take its place soon: counterfoil members take-over USER\n"
        )
    })?;
    Ok(Exit::Good)
}
