//! `counterfoil audit head-note`.

use std::path::PathBuf;

use clap::Args;
use counterfoil_events::ids::{EventHash, KeyId, Position, TenantId};
use counterfoil_events::ledger::Database;
use counterfoil_events::timestamp::Timestamp;
use serde::Serialize;

use super::super::exit::{CliError, Exit, Outcome};
use super::super::output::Output;
use super::{failed, head_notes};
use crate::audit::AuditError;
use crate::config::Config;

/// Arguments of `audit head-note`.
#[derive(Debug, Args)]
pub struct HeadNoteArgs {
    /// Whose log
    #[arg(long, value_name = "TENANT")]
    tenant: TenantId,
    /// The file to write; the note is printed if it is absent, or `-`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "out")]
    force: bool,
}

#[derive(Serialize)]
struct Note {
    tenant: TenantId,
    position: Position,
    hash: EventHash,
    time: Timestamp,
    key_id: KeyId,
    note: String,
}

impl HeadNoteArgs {
    pub async fn run(self, config: Config, database: Database, output: Output) -> Outcome {
        let out = self.out.filter(|path| path.as_os_str() != "-");
        if let Some(there) = out.as_ref().filter(|path| !self.force && path.exists()) {
            return Err(failed(&AuditError::Exists(there.clone())));
        }
        let notes = head_notes(&config, &database).await?;
        let made = notes.note(self.tenant).await.map_err(|error| failed(&error))?;
        let head = made.head();
        let note = Note {
            tenant: head.tenant,
            position: head.position,
            hash: head.hash,
            time: head.time,
            key_id: made.key_id(),
            note: made.as_str().to_owned(),
        };
        if let Some(path) = &out {
            let written = std::fs::write(path, &note.note);
            written.map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
        }
        output.print(&note, |note| match &out {
            Some(path) => format!(
                "tenant {} at position {}: {}\n",
                note.tenant,
                note.position,
                path.display()
            ),
            None => note.note.clone(),
        })?;
        Ok(Exit::Good)
    }
}
