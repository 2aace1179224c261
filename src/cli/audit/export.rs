//! `counterfoil audit export`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::{Database, LogReader};

use super::super::exit::{Exit, Outcome};
use super::super::output::Output;
use super::super::values::whole;
use super::{Bar, failed, head_notes};
use crate::audit::{Export, Exported, Keys, export};
use crate::config::Config;

/// Arguments of `audit export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Whose log
    #[arg(long, value_name = "TENANT")]
    tenant: TenantId,
    /// The file to write; `-` for stdout, and what would be there goes to stderr
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// From this position on
    #[arg(long, default_value_t = 1, value_name = "POSITION", value_parser = whole::<u64>(1..))]
    from: u64,
}

impl ExportArgs {
    pub async fn run(self, config: Config, database: Database, output: Output) -> Outcome {
        let notes = head_notes(&config, &database).await?;
        let keys = Keys::from_postgres(database.log(), None)
            .await
            .map_err(|error| failed(&error))?;
        let reader = LogReader::new(database.log().clone());
        let what = Export {
            tenant: self.tenant,
            from: Position(self.from),
            path: &self.out,
            replace: self.force,
        };
        let bar = Bar::new(output, "exporting");
        let exported = export(what, &reader, &notes, &keys, &bar)
            .await
            .map_err(|error| failed(&error))?;
        drop(bar);
        if self.out == Path::new("-") {
            output.print_aside(&exported, human)?;
        } else {
            output.print(&exported, human)?;
        }
        Ok(if exported.missing_documents.is_empty() {
            Exit::Good
        } else {
            Exit::Finding
        })
    }
}

fn human(exported: &Exported) -> String {
    let Exported {
        path,
        tenant,
        from,
        to,
        events,
        missing_documents,
        root,
    } = exported;
    // What was written to stdout is in a file that only the caller knows.
    let path = match path.to_str() {
        Some("-") => "FILE".to_owned(),
        _ => path.display().to_string(),
    };
    let mut text = format!("{events} events of tenant {tenant}, positions {from} to {to}, are in {path}\n");
    // Writing to a string cannot fail.
    if !missing_documents.is_empty() {
        let _ = writeln!(
            text,
            "{} documents are missing: run `counterfoil audit verify`",
            missing_documents.len()
        );
    }
    let _ = writeln!(
        text,
        "verify it with: counterfoil audit verify --source {path} --root {root}"
    );
    text
}
