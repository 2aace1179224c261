//! `counterfoil kms serve | add-version | rewrap | rotate-key`: the local key process, what follows a new version of the
//! KEK, and another key for an organisation.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use counterfoil_events::ids::{OrganisationId, TenantId};
use counterfoil_events::ledger::{Database, Sequencer, SequencerOptions};
use counterfoil_events::timestamp::SystemClock;
use tokio_util::sync::CancellationToken;

use super::audit::Bar;
use super::exit::{CliError, Exit, Outcome};
use super::output::Output;
use super::stop::StopSignals;
use super::{GlobalArgs, reach};
use crate::commands::Commands;
use crate::config::PostgresRole;
use crate::signing::{KeyFile, KeyFileError};
use crate::vault::kms::local::{KekFolder, KeyServer, keep_out_of_dumps};
use crate::vault::rotation::{KeyRotated, KeyRotation, KeyRotationError};
use crate::vault::sealing::Owner;
use crate::vault::{self, Secrets, Vault};

/// Every organisation that has keys. It crosses tenants, and so is the log's to ask.
const OWNERS: &str = "
    SELECT DISTINCT tenant_id, organisation_id FROM counterfoil.organisation_keys ORDER BY tenant_id";

#[derive(Debug, Subcommand)]
pub(super) enum KmsCommand {
    /// Hold the key-encryption key, and wrap and unwrap by it for processes of the same user
    #[command(
        after_help = "Example:\n  counterfoil kms serve --keys /etc/counterfoil/kek --socket /run/counterfoil/kms.sock"
    )]
    Serve {
        /// The folder with the key's files, kek-1.key and so on
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// The socket to listen at
        #[arg(long, value_name = "FILE")]
        socket: PathBuf,
        /// Make the first key if there is none
        #[arg(long)]
        create: bool,
    },
    /// Make the next version of the key-encryption key; restart `kms serve`, then `kms rewrap`
    AddVersion {
        /// The folder with the key's files
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
    },
    /// Wrap the signing key and every organisation's keys by the newest version of the key-encryption key; safe to repeat
    Rewrap,
    /// Let another key of an organisation wrap its secrets' data keys; goes on where it was cut off
    #[command(
        after_help = "Examples:\n  counterfoil kms rotate-key 01933b5e-0000-7000-8000-000000000001\n  \
        counterfoil kms rotate-key platform      # of providers' keys\n\n\
        Requests go on meanwhile. No value is sealed anew: rotate a secret itself where its value may be known."
    )]
    RotateKey {
        /// Its id, or `platform`
        #[arg(value_parser = organisation)]
        organisation: OrganisationId,
    },
}

fn organisation(text: &str) -> Result<OrganisationId, String> {
    match text {
        "platform" => Ok(Owner::PLATFORM.organisation),
        id => id
            .parse()
            .map_err(|_| "expected an organisation's id, or platform".to_owned()),
    }
}

impl KmsCommand {
    pub async fn run(self, global: &GlobalArgs, output: Output) -> Outcome {
        match self {
            Self::Serve { keys, socket, create } => serve(global, keys, socket, create).await,
            Self::AddVersion { keys } => {
                let version = KekFolder::new(&keys).add_version().map_err(CliError::usage)?;
                println!(
                    "made version {version}; restart `counterfoil kms serve`, then run `counterfoil kms rewrap`"
                );
                Ok(Exit::Good)
            }
            Self::Rewrap => rewrap(global).await,
            Self::RotateKey { organisation } => rotate_key(global, organisation, output).await,
        }
    }
}

async fn serve(global: &GlobalArgs, keys: PathBuf, socket: PathBuf, create: bool) -> Outcome {
    let _config = global.begin()?;
    keep_out_of_dumps().map_err(CliError::unavailable)?;
    let folder = KekFolder::new(&keys);
    if create {
        folder.ensure().map_err(CliError::usage)?;
    }
    let kek = folder.load().map_err(CliError::usage)?;
    let mut signals = StopSignals::listen()?;
    let server = KeyServer::bind(&socket, kek)
        .await
        .map_err(CliError::unavailable)?;
    println!("wrapping at {}", socket.display());
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let asked = async move {
        signals.asked().await;
        stopping.cancel();
    };
    tokio::join!(server.run(stop), asked);
    Ok(Exit::Good)
}

async fn rewrap(global: &GlobalArgs) -> Outcome {
    let config = global.installation()?;
    reach::postgres(&config, PostgresRole::Log, global).await?;
    let kms = vault::kms(&config.vault).map_err(CliError::unavailable)?;
    let kms = kms.ok_or_else(|| CliError::of_key(KeyFileError::NoKms))?;
    let database = Database::new(&config.postgres.database_options());
    let vault = Vault::new(database.clone(), Arc::clone(&kms));
    let owners: Vec<(uuid::Uuid, uuid::Uuid)> = sqlx::query_as(OWNERS)
        .fetch_all(database.log())
        .await
        .map_err(CliError::unavailable)?;
    let signing = KeyFile::new(&config.signing.key_file, Arc::clone(&kms));
    let mut anew = signing.rewrap().await.map_err(CliError::of_key)?;
    for (home, organisation) in owners {
        let owner = Owner {
            organisation: OrganisationId(organisation),
            home: TenantId(home),
        };
        anew += vault.rewrap(owner).await.map_err(CliError::unavailable)?;
    }
    database.close().await;
    println!("wrapped {anew} keys anew");
    Ok(Exit::Good)
}

async fn rotate_key(global: &GlobalArgs, organisation: OrganisationId, output: Output) -> Outcome {
    let config = global.installation()?;
    reach::postgres(&config, PostgresRole::Log, global).await?;
    let kms = vault::kms(&config.vault).map_err(CliError::unavailable)?;
    let kms = kms.ok_or_else(|| CliError::of_key(KeyFileError::NoKms))?;
    let signing = KeyFile::new(&config.signing.key_file, Arc::clone(&kms));
    let database = Database::new(&config.postgres.database_options());
    let sequencer = Sequencer::new(
        database.clone(),
        signing.current().await.map_err(CliError::of_key)?,
        Arc::new(SystemClock),
        SequencerOptions::default(),
    );
    let commands = Arc::new(Commands::new(sequencer, config.nats.partitions));
    let secrets = Secrets::new(Vault::new(database.clone(), kms), Arc::clone(&commands));
    let rotation = KeyRotation {
        secrets: &secrets,
        commands: &commands,
        log: database.log(),
    };
    let bar = Bar::new(output, "wrapping anew");
    let rotated = async {
        let owner = secrets.owner_of(organisation).await?;
        let owner = owner.ok_or(KeyRotationError::NoOrganisation)?;
        rotation.rotate(owner, &bar).await
    };
    let rotated = rotated.await;
    drop(bar);
    commands.sequencer.stop().await;
    database.close().await;
    let rotated = rotated.map_err(|error| match error {
        KeyRotationError::NoOrganisation => CliError::usage(error),
        error => CliError::unavailable(error),
    })?;
    output.print(&rotated, told)?;
    Ok(Exit::Good)
}

fn told(rotated: &KeyRotated) -> String {
    let KeyRotated {
        number,
        resumed,
        data_keys,
        left_alone,
        ..
    } = rotated;
    let begun = match resumed {
        true => "an earlier rotation is completed",
        false => "it was made now",
    };
    let mut text = format!("key {number} wraps ({begun}); {data_keys} data keys are wrapped by it anew\n");
    if *left_alone > 0 {
        text.push_str(&format!(
            "{left_alone} ciphertexts belong to no secret in use and were left alone\n"
        ));
    }
    text
}
