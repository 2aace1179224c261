//! `counterfoil audit …`: verify the log, export it, sign where it ends. They need configuration and servers, but no
//! running `counterfoil serve`; verifying a file needs neither.

mod export;
mod head_note;
mod reconcile;
pub(super) mod verify;

use std::sync::Arc;

use clap::Subcommand;
use counterfoil_events::ledger::Database;
use counterfoil_events::timestamp::SystemClock;
use indicatif::ProgressBar;

use super::backup::stopped_servers;
use super::exit::{CliError, Exit, Outcome};
use super::output::Output;
use super::{GlobalArgs, block_on, reach, set_up_quiet_logs};
use crate::audit::{AuditError, HeadNotes, Progress};
use crate::config::{Config, PostgresRole};
use crate::signing::KeyFile;
use crate::up::Servers;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Verify chain, signatures, documents and head notes; exit code 1 when something is wrong
    Verify(verify::VerifyArgs),
    /// Write one tenant's log, with all that an auditor needs, to a file
    Export(export::ExportArgs),
    /// Sign where a tenant's log ends now; kept elsewhere, the note shows whether anything was cut off later
    HeadNote(head_note::HeadNoteArgs),
    /// Hold Postgres and JetStream against each other; put back what one of them lost
    Reconcile(reconcile::ReconcileArgs),
}

impl AuditCommand {
    pub fn run(self, global: &GlobalArgs, output: Output) -> Outcome {
        match self {
            Self::Verify(args) => args.run(global, output),
            Self::Export(args) => with_log(global, |config, database| args.run(config, database, output)),
            Self::HeadNote(args) => with_log(global, |config, database| args.run(config, database, output)),
            Self::Reconcile(args) => block_on(reconcile(args, global, output)),
        }
    }
}

/// Also for an `up` that does not run, whose servers are started for as long as it takes: after a restore nothing may be
/// appended before this.
async fn reconcile(args: reconcile::ReconcileArgs, global: &GlobalArgs, output: Output) -> Outcome {
    match stopped_servers(global).await? {
        None => {
            let config = global.installation()?;
            on_log(global, config, |config, database| {
                args.run(global, config, database, output)
            })
            .await
        }
        Some(Servers { stack, config }) => {
            set_up_quiet_logs(&config)?;
            let done = on_log(global, config, |config, database| {
                args.run(global, config, database, output)
            });
            let outcome = done.await;
            stack.stop().await;
            outcome
        }
    }
}

/// Runs `work` with configuration and database, and closes the database after it.
pub(super) fn with_log<F: Future<Output = Outcome>>(
    global: &GlobalArgs,
    work: impl FnOnce(Config, Database) -> F,
) -> Outcome {
    let config = global.installation()?;
    block_on(on_log(global, config, work))
}

async fn on_log<F: Future<Output = Outcome>>(
    global: &GlobalArgs,
    config: Config,
    work: impl FnOnce(Config, Database) -> F,
) -> Outcome {
    reach::postgres(&config, PostgresRole::Log, global).await?;
    let database = Database::new(&config.postgres.database_options());
    let outcome = work(config, database.clone()).await;
    database.close().await;
    outcome
}

/// What makes head notes here.
async fn head_notes(config: &Config, database: &Database) -> Result<HeadNotes, CliError> {
    let key_file = KeyFile::configured(config).map_err(CliError::of_key)?;
    let key = key_file.load().await.map_err(CliError::of_key)?;
    Ok(HeadNotes::new(
        database.log().clone(),
        Arc::new(key),
        Arc::new(SystemClock),
    ))
}

/// What the caller can change is usage; what does not answer is unavailable; a damaged log is a finding.
pub(super) fn failed(error: &AuditError) -> CliError {
    let exit = match error {
        AuditError::Postgres(_) | AuditError::Backbone(_) | AuditError::Internal(_) => Exit::Unavailable,
        AuditError::DamagedHead { .. } | AuditError::Forked { .. } | AuditError::Unexportable(_) => {
            Exit::Finding
        }
        _ => Exit::Usage,
    };
    CliError {
        exit,
        message: error.to_string(),
        problem: None,
    }
}

/// An audit's progress as a bar.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(output: Output, what: &'static str) -> Self {
        Self(output.progress(what, 1))
    }
}

impl Progress for Bar {
    fn begin(&self, events: u64) {
        self.0.set_length(events);
    }

    fn advance(&self, events: u64) {
        self.0.inc(events);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
