//! `counterfoil audit verify`.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use counterfoil_events::ids::{Fingerprint, Position, TenantId};
use counterfoil_events::ledger::Database;
use counterfoil_events::verify::Options;

use super::super::exit::{CliError, Exit, Outcome};
use super::super::output::Output;
use super::super::table::Table;
use super::super::values::whole;
use super::super::{GlobalArgs, reach};
use super::{Bar, failed, with_log};
use crate::audit::{JetStreamAudit, Keys, PostgresAudit, Scope, Summary, verify_file};
use crate::config::Config;

/// Findings and logs shown to people; `--json` has a thousand of the former and all of the latter.
const SHOWN: usize = 20;

/// Arguments of `audit verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Where the log is read: `postgres`, `jetstream`, or an export file
    #[arg(long, default_value = "postgres", value_name = "postgres|jetstream|FILE")]
    source: Source,
    /// One tenant's log instead of all
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
    /// From this position on; what stands before is taken for granted
    #[arg(long, requires = "tenant", default_value_t = 1, value_name = "POSITION", value_parser = whole::<u64>(1..))]
    from: u64,
    /// A head note that the log has to be consistent with; may be repeated
    #[arg(long, value_name = "FILE")]
    head_note: Vec<PathBuf>,
    /// Fingerprint of the first signing key, as `counterfoil init` printed it
    #[arg(long, env = "COUNTERFOIL_ROOT_FINGERPRINT", value_name = "FINGERPRINT")]
    root: Option<Fingerprint>,
    /// Check the chain, not the signatures
    #[arg(long)]
    chain_only: bool,
    /// Threads that check [default: one per core]
    #[arg(long, value_name = "N", value_parser = whole::<NonZeroUsize>(1..=1024))]
    threads: Option<NonZeroUsize>,
}

#[derive(Debug, Clone)]
enum Source {
    Postgres,
    JetStream,
    File(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "postgres" => Ok(Self::Postgres),
            "jetstream" => Ok(Self::JetStream),
            path if Path::new(path).exists() => Ok(Self::File(path.into())),
            _ => Err("it is `postgres`, `jetstream`, or a file that `counterfoil audit export` wrote; there is no such file".to_owned()),
        }
    }
}

impl VerifyArgs {
    pub fn run(self, global: &GlobalArgs, output: Output) -> Outcome {
        let scope = self.scope()?;
        let root = self.root;
        let summary = match self.source {
            Source::File(path) => file(&path, root, &scope, output)?,
            Source::Postgres => {
                return with_log(global, |_, database| async move {
                    finish(&postgres(database, root, scope, output).await?, output)
                });
            }
            Source::JetStream => {
                return with_log(global, |config, database| async move {
                    finish(
                        &jetstream(global, config, database, root, scope, output).await?,
                        output,
                    )
                });
            }
        };
        finish(&summary, output)
    }

    fn scope(&self) -> Result<Scope, CliError> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path)
                .map_err(|error| CliError::usage(format!("head note {}: {error}", path.display())))
        };
        let defaults = Options::default();
        Ok(Scope {
            tenant: self.tenant,
            from: Position(self.from),
            options: Options {
                signatures: !self.chain_only,
                threads: self.threads.unwrap_or(defaults.threads),
            },
            head_notes: self.head_note.iter().map(read).collect::<Result<_, _>>()?,
        })
    }
}

fn file(path: &Path, root: Option<Fingerprint>, scope: &Scope, output: Output) -> Result<Summary, CliError> {
    if scope.tenant.is_some() {
        return Err(CliError::usage(
            "--tenant and --from are for the stores; a file holds one log, and is verified whole",
        ));
    }
    let bar = Bar::new(output, "verifying");
    verify_file(path, root, scope, &bar).map_err(|error| failed(&error))
}

async fn postgres(
    database: Database,
    root: Option<Fingerprint>,
    scope: Scope,
    output: Output,
) -> Result<Summary, CliError> {
    let keys = Keys::from_postgres(database.log(), root)
        .await
        .map_err(|error| failed(&error))?;
    let bar = Bar::new(output, "verifying");
    let audit = PostgresAudit::new(database.log().clone(), keys, scope);
    audit.run(&bar).await.map_err(|error| failed(&error))
}

async fn jetstream(
    global: &GlobalArgs,
    config: Config,
    database: Database,
    root: Option<Fingerprint>,
    scope: Scope,
    output: Output,
) -> Result<Summary, CliError> {
    let keys = Keys::from_postgres(database.log(), root)
        .await
        .map_err(|error| failed(&error))?;
    let backbone = reach::backbone(&config, global).await?;
    let bar = Bar::new(output, "verifying");
    let audit = JetStreamAudit::new(database.log().clone(), backbone, keys, scope);
    audit.run(&bar).await.map_err(|error| failed(&error))
}

fn finish(summary: &Summary, output: Output) -> Outcome {
    output.print(summary, human)?;
    Ok(if summary.findings.is_empty() {
        Exit::Good
    } else {
        Exit::Finding
    })
}

pub(in super::super) fn human(summary: &Summary) -> String {
    let mut text = String::new();
    let mut logs = Table::new(["log", ">from", ">to", ">events", ">findings"]);
    let worth_showing = |report: &&counterfoil_events::verify::Report| {
        summary.logs.len() <= SHOWN || !report.findings.is_empty()
    };
    for report in summary.logs.iter().filter(worth_showing).take(SHOWN) {
        let findings = report.findings.total();
        logs.row([
            &report.tenant,
            &report.first,
            &report.last,
            &report.events,
            &findings,
        ]);
    }
    let mut findings = Table::new(["tenant", ">position", "finding", "detail"]);
    for finding in summary.findings.kept().iter().take(SHOWN) {
        findings.row([&finding.tenant, &finding.position, &finding.kind, &finding.detail]);
    }
    let checked = if summary.signatures {
        "chain and every signature"
    } else {
        "chain only, no signatures"
    };
    let own_word = if summary.root_given {
        ""
    } else {
        ", on the log's own word: compare it with the one you were given"
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{logs}");
    if !findings.is_empty() {
        let _ = writeln!(text, "{findings}");
    }
    let total = summary.findings.total();
    if total > SHOWN as u64 {
        let _ = writeln!(
            text,
            "and {} more; --json lists up to a thousand\n",
            total - SHOWN as u64
        );
    }
    let _ = writeln!(
        text,
        "{} events of {} logs in {} read in {:.1} s ({:.0} per second): {checked}",
        summary.events,
        summary.logs.len(),
        summary.source,
        summary.seconds,
        summary.events_per_second,
    );
    let _ = writeln!(text, "root {}{own_word}", summary.root);
    let _ = match total {
        0 => writeln!(text, "nothing is wrong"),
        1 => writeln!(text, "1 finding"),
        more => writeln!(text, "{more} findings"),
    };
    text
}
