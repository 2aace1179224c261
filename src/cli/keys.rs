//! `counterfoil keys list | rotate | import`: which keys signed the log, letting another one sign from now on, and sealing
//! one that was kept in the clear.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use counterfoil_events::ids::{Fingerprint, KeyId, Position};
use counterfoil_events::keyring::SigningKeyIntroduced;
use counterfoil_events::ledger::{Database, Sequencer, SequencerOptions};
use counterfoil_events::signature::Signer;
use counterfoil_events::timestamp::{SystemClock, Timestamp};
use serde::Serialize;

use super::audit::{failed, with_log};
use super::backup::stopped_servers;
use super::exit::{CliError, Exit, Outcome};
use super::output::Output;
use super::table::Table;
use super::{GlobalArgs, block_on};
use crate::audit::Keys;
use crate::config::Config;
use crate::signing::{self, KeyFile, Rotated, RotationError, SealedKey};
use crate::up::Servers;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Every key that the platform log introduces; the last one signs
    #[command(after_help = "Example:\n  counterfoil keys list")]
    List,
    /// Let a new key sign from the next event on; running processes on this machine take it by themselves
    #[command(after_help = "Examples:\n  counterfoil keys rotate\n\n\
        Where several machines serve, under one KMS: `counterfoil keys rotate --prepare` on one, copy the new file beside \
        the key of each,\n  then `counterfoil keys rotate`. No process is without its key at any moment.")]
    Rotate {
        /// Only make the new key's file, for copying it to other machines first
        #[arg(long)]
        prepare: bool,
    },
    /// Seal a signing key that was kept in the clear, and put it into `signing.key_file`; the file in the clear is removed
    #[command(
        after_help = "Examples:\n  counterfoil keys import signing.key             # in its place\n  \
        counterfoil keys import /safe/signing.key       # from elsewhere\n\n\
        The KMS has to be there; that of an `up` which does not run is started for as long as it takes.\n\
        Copies in backups and elsewhere are still in the clear: destroy them, or rotate the key."
    )]
    Import {
        /// The file: 64 hexadecimal digits, mode 0600
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Serialize)]
struct Listed {
    key_id: KeyId,
    fingerprint: Fingerprint,
    /// Where the platform log introduces it.
    position: Position,
    since: Timestamp,
    /// Whether it signs now.
    current: bool,
    /// Whether it is the one in `signing.key_file`.
    in_place: bool,
}

impl KeysCommand {
    pub fn run(self, global: &GlobalArgs, output: Output) -> Outcome {
        match self {
            Self::List => with_log(global, |config, database| list(config, database, output)),
            Self::Rotate { prepare: true } => block_on(prepare(global.installation()?, output)),
            Self::Import { file } => block_on(import(global, file, output)),
            Self::Rotate { prepare: false } => {
                with_log(global, |config, database| rotate(config, database, output))
            }
        }
    }
}

async fn list(config: Config, database: Database, output: Output) -> Outcome {
    let keys = Keys::from_postgres(database.log(), None)
        .await
        .map_err(|error| failed(&error))?;
    // By its own word: a list is not worth a question to the KMS.
    let in_place = SealedKey::read(&config.signing.key_file).ok();
    let in_place = in_place.map(|key| key.id());
    let listed = |event: &counterfoil_events::envelope::RecordedEvent| {
        let envelope = event.parse().ok()?;
        let key: SigningKeyIntroduced = serde_json::from_str(envelope.payload.get()).ok()?;
        // Only what the chain of signatures vouches for.
        keys.trusted.introduced_at(key.key_id)?;
        Some(Listed {
            key_id: key.key_id,
            fingerprint: key.fingerprint,
            position: event.position,
            since: envelope.recorded_at,
            current: keys.trusted.newest() == Some(key.key_id),
            in_place: in_place == Some(key.key_id),
        })
    };
    let all: Vec<Listed> = keys.events.iter().filter_map(listed).collect();
    output.list(&all, "no key is introduced", table)?;
    for problem in &keys.problems {
        eprintln!("counterfoil: {problem}");
    }
    Ok(if keys.problems.is_empty() {
        Exit::Good
    } else {
        Exit::Finding
    })
}

fn table(listed: &[Listed]) -> Table {
    let mut table = Table::new(["key", ">position", "since", "fingerprint", "state"]);
    for key in listed {
        let state = match (key.current, key.in_place) {
            (true, true) => "signs",
            (true, false) => "signs; not the one in signing.key_file",
            (false, true) => "followed; still in signing.key_file",
            (false, false) => "followed",
        };
        table.row([&key.key_id, &key.position, &key.since, &key.fingerprint, &state]);
    }
    table
}

#[derive(Serialize)]
struct Prepared {
    key_id: KeyId,
    fingerprint: Fingerprint,
    path: PathBuf,
}

async fn prepare(config: Config, output: Output) -> Outcome {
    let file = KeyFile::configured(&config).map_err(CliError::of_key)?;
    let key = file.prepare().await.map_err(CliError::of_key)?.public_key();
    let prepared = Prepared {
        key_id: key.id(),
        fingerprint: key.fingerprint(),
        path: file.next_path(),
    };
    output.print(&prepared, |prepared| {
        format!(
            "key {} is in {}; it signs nothing yet. Copy the file beside the key of every machine that serves, then run \
             `counterfoil keys rotate` here\n",
            prepared.key_id,
            prepared.path.display()
        )
    })?;
    Ok(Exit::Good)
}

#[derive(Serialize)]
struct Imported {
    key_id: KeyId,
    fingerprint: Fingerprint,
    path: PathBuf,
}

async fn import(global: &GlobalArgs, from: PathBuf, output: Output) -> Outcome {
    match stopped_servers(global).await? {
        None => seal(&global.installation()?, from, output).await,
        Some(Servers { stack, config }) => {
            let outcome = seal(&config, from, output).await;
            stack.stop().await;
            outcome
        }
    }
}

async fn seal(config: &Config, from: PathBuf, output: Output) -> Outcome {
    let file = KeyFile::configured(config).map_err(CliError::of_key)?;
    let key = file.import(&from).await.map_err(CliError::of_key)?.public_key();
    let imported = Imported {
        key_id: key.id(),
        fingerprint: key.fingerprint(),
        path: file.path().to_owned(),
    };
    output.print(&imported, |imported| {
        format!(
            "key {} is sealed in {}; what was in the clear in {} is removed, and its copies are yours to destroy\n",
            imported.key_id,
            imported.path.display(),
            from.display()
        )
    })?;
    Ok(Exit::Good)
}

async fn rotate(config: Config, database: Database, output: Output) -> Outcome {
    let keys = Keys::from_postgres(database.log(), None)
        .await
        .map_err(|error| failed(&error))?;
    let file = KeyFile::configured(&config).map_err(CliError::of_key)?;
    let sequencer = Sequencer::new(
        database,
        file.current().await.map_err(CliError::of_key)?,
        Arc::new(SystemClock),
        SequencerOptions::default(),
    );
    let rotated = signing::rotate(&sequencer, &file, &keys.trusted).await;
    sequencer.stop().await;
    let rotated = rotated.map_err(|error| match error {
        RotationError::Command(_) => CliError::unavailable(error),
        RotationError::Key(error) => CliError::of_key(error),
        error => CliError::usage(error),
    })?;
    output.print(&rotated, |rotated: &Rotated| {
        format!(
            "key {} signs from now on (fingerprint {}); it is in {}\n\
             The first key's fingerprint stays what an auditor needs. Back up the new key (it is sealed: the key-encryption key is what to keep apart).\n",
            rotated.key_id,
            rotated.fingerprint,
            config.signing.key_file.display()
        )
    })?;
    Ok(Exit::Good)
}
