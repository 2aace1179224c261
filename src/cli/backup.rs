//! `counterfoil backup` and `counterfoil restore`.
//!
//! Both work on configured servers, and on those that `up` keeps in a directory (`--data`). A running `up` is backed up
//! as it runs; a stopped one's servers are started for as long as it takes. A restore needs the directory for itself.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use counterfoil_events::ids::Fingerprint;

use super::audit::{Bar, verify};
use super::exit::{CliError, Exit, Outcome};
use super::output::Output;
use super::stop::StopSignals;
use super::{GlobalArgs, reach, set_up_quiet_logs};
use crate::audit::AuditError;
use crate::backup::{BackedUp, Backup, BackupError, Restore, Restored, WholeBackup};
use crate::config::{Config, PostgresRole};
use crate::stack::{Before, StackError};
use crate::up::{Servers, UpError, secrets_at_rest};

/// Findings told one by one; `--json` has a thousand.
const SHOWN: usize = 20;

/// Arguments of `backup`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  counterfoil backup --out /backups/counterfoil-2026-11-20\n\n\
    The directory holds the log, the sealed signing key and sealed secrets. Without the key-encryption key of the KMS, \
    which it does not hold, nothing sealed in it opens: keep that one elsewhere."
)]
pub struct BackupArgs {
    /// The directory to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Leave out the signing key and the pepper of API keys: the backup can then be verified, but continued only where
    /// they are kept
    #[arg(long)]
    without_key: bool,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  counterfoil restore /backups/counterfoil-2026-11-20 --data .counterfoil/data\n\n\
    On your own servers it needs the logins that `counterfoil init` needs."
)]
pub struct RestoreArgs {
    /// The directory that `counterfoil backup` made
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// Fingerprint of the first signing key, as `counterfoil init` printed it; the backup's own word, if not given
    #[arg(long, env = "COUNTERFOIL_ROOT_FINGERPRINT", value_name = "FINGERPRINT")]
    root: Option<Fingerprint>,
}

impl BackupArgs {
    pub async fn run(self, global: &GlobalArgs, output: Output) -> Outcome {
        match stopped_servers(global).await? {
            None => {
                let config = global.installation()?;
                reach::postgres(&config, PostgresRole::Log, global).await?;
                self.take(&config, output).await
            }
            Some(Servers { stack, config }) => {
                set_up_quiet_logs(&config)?;
                let outcome = self.take(&config, output).await;
                stack.stop().await;
                outcome
            }
        }
    }

    async fn take(&self, config: &Config, output: Output) -> Outcome {
        let backup = Backup {
            config,
            out: &self.out,
            with_keys: !self.without_key,
        };
        let bar = Bar::new(output, "backing up");
        let mut stop = StopSignals::listen()?;
        let taken = tokio::select! {
            taken = backup.take(&bar) => taken.map_err(failed)?,
            () = stop.asked() => return Err(CliError::usage("interrupted: no backup was made")),
        };
        drop(bar);
        output.print(&taken, told)?;
        if taken.findings.is_empty() {
            return Ok(Exit::Good);
        }
        eprint!("{}", damaged(&taken));
        Ok(Exit::Finding)
    }
}

/// The servers of an `up` that does not run now, started.
pub(super) async fn stopped_servers(global: &GlobalArgs) -> Result<Option<Servers>, CliError> {
    let data = global.data();
    // Only a directory that `up` has made: one that is not there would be made by starting on it.
    if !global.means_data() || !data.join("credentials.json").is_file() {
        return Ok(None);
    }
    match Servers::start(data, global.without_installation()?).await {
        Ok(servers) => Ok(Some(servers)),
        Err(UpError::Stack(StackError::InUse { .. })) => Ok(None),
        Err(error) => Err(CliError::unavailable(error)),
    }
}

impl RestoreArgs {
    pub async fn run(self, global: &GlobalArgs, output: Output) -> Outcome {
        let restored = if global.means_data() {
            self.restore_up(global, output).await?
        } else {
            let config = global.begin()?;
            let backup = WholeBackup::open(&self.from).await.map_err(failed)?;
            reach::postgres_as_admin(&config, global).await?;
            self.restore(&backup, &config, output).await?
        };
        output.print(&restored, |restored| put_back(restored, global))?;
        Ok(if restored.verified.findings.is_empty() {
            Exit::Good
        } else {
            Exit::Finding
        })
    }

    /// Into the directory of an `up`. Whatever is refused leaves it as it was: what can be looked at is looked at before
    /// anything is made, and what was made for a restore that comes to nothing is taken back.
    async fn restore_up(&self, global: &GlobalArgs, output: Output) -> Result<Restored, CliError> {
        let (data, config) = (global.data(), global.without_installation()?);
        set_up_quiet_logs(&config)?;
        let backup = WholeBackup::open(&self.from).await.map_err(failed)?;
        let secrets = secrets_at_rest(&data, &config).map_err(CliError::of_key)?;
        secrets.check(&backup).await.map_err(failed)?;
        let before = Before::look(&data);
        let before = before.map_err(|error| CliError::usage(format!("{}: {error}", data.display())))?;
        let restored = match Servers::start(data.clone(), config).await {
            // Whoever is at work there is not to be disturbed.
            Err(error @ UpError::Stack(StackError::InUse { .. })) => {
                return Err(CliError::unavailable(error));
            }
            Err(error) => Err(CliError::unavailable(error)),
            Ok(Servers { stack, config }) => {
                let restored = self.restore(&backup, &config, output).await;
                stack.stop().await;
                restored
            }
        };
        if restored.is_err()
            && let Err(error) = before.take_back()
        {
            let data = data.display();
            eprintln!("counterfoil: what was made in {data} cannot be removed: {error}");
        }
        restored
    }

    async fn restore(
        &self,
        backup: &WholeBackup,
        config: &Config,
        output: Output,
    ) -> Result<Restored, CliError> {
        let restore = Restore {
            backup,
            config,
            root: self.root,
        };
        let (loading, verifying) = (Bar::new(output, "loading"), Bar::new(output, "verifying"));
        let mut stop = StopSignals::listen()?;
        tokio::select! {
            restored = restore.run(&loading, &verifying) => restored.map_err(failed),
            () = stop.asked() => Err(CliError::usage(
                "interrupted: if the log was loaded already, remove the database before you try again",
            )),
        }
    }
}

fn told(taken: &BackedUp) -> String {
    let manifest = &taken.manifest;
    let mut text = format!(
        "{} events of {} logs, {} bytes, are in {}\ntaken at {}, root {}\n",
        manifest.events(),
        manifest.logs.len(),
        taken.bytes,
        taken.path.display(),
        manifest.taken_at,
        manifest.root,
    );
    text.push_str(if manifest.has_keys {
        "It holds the signing key and the secrets as they are sealed, and not the key-encryption key that opens them: \
         keep that one apart. What is sealed by a lost one is lost.\n"
    } else {
        "It does not hold the signing key: without the key that you keep elsewhere, the log can be verified but not \
         continued.\n"
    });
    text
}

/// What is wrong with what was backed up.
fn damaged(taken: &BackedUp) -> String {
    let (mut text, findings) = (String::new(), &taken.findings);
    // Writing to a string cannot fail.
    for finding in findings.kept().iter().take(SHOWN) {
        let _ = writeln!(text, "counterfoil: {finding}");
    }
    let more = findings.total().saturating_sub(SHOWN as u64);
    if more > 0 {
        let _ = writeln!(text, "counterfoil: and {more} more");
    }
    let _ = writeln!(
        text,
        "counterfoil: the backup is whole, and holds a damaged log as it is in Postgres: keep it as evidence, keep earlier \
         backups, and run `counterfoil audit verify`. A restore of it would end with exit code 1 and without its keys"
    );
    text
}

fn put_back(restored: &Restored, global: &GlobalArgs) -> String {
    let manifest = &restored.manifest;
    let mut text = verify::human(&restored.verified);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\n{} events of {} tenants, as of {}, are restored",
        manifest.events(),
        manifest.logs.len().saturating_sub(1),
        manifest.taken_at,
    );
    for key in &restored.keys {
        let _ = writeln!(text, "put in place: {}", key.display());
    }
    if restored.verified.findings.is_empty() {
        text.push_str(&next_steps(global));
    } else {
        text.push_str(
            "The log is there as it was backed up, but it is not proven: the keys were not put in place. See \
             docs/auditor-guide.md for what the findings mean.\n",
        );
    }
    text
}

/// In this order, each as it is typed: what comes after the backup is put back before anything else can be appended.
fn next_steps(global: &GlobalArgs) -> String {
    let place = global.place();
    let serve = if global.means_data() { "up" } else { "serve" };
    format!(
        "\nNext, in this order:\n\n  \
         counterfoil audit reconcile --repair{place}\n  \
         counterfoil {serve}{place}\n\n\
         The first puts back what JetStream still has from after the backup, before anything new can be appended. After \
         the second, clients may come back.\n",
    )
}

fn failed(error: BackupError) -> CliError {
    let exit = match &error {
        BackupError::Postgres(_)
        | BackupError::Roles(_)
        | BackupError::Migrate(_)
        | BackupError::Audit(AuditError::Postgres(_)) => Exit::Unavailable,
        BackupError::Key(error) if error.is_unavailable() => Exit::Unavailable,
        BackupError::Altered(_) | BackupError::OtherHead(_) => Exit::Finding,
        _ => Exit::Usage,
    };
    CliError {
        exit,
        message: error.to_string(),
        problem: None,
    }
}
