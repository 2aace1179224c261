//! `counterfoil kms serve | add-version | rewrap`: the local key process, and what follows a new version of the KEK.

use std::path::PathBuf;

use clap::Subcommand;
use counterfoil_events::ids::{OrganisationId, TenantId};
use counterfoil_events::ledger::Database;
use tokio_util::sync::CancellationToken;

use super::GlobalArgs;
use super::exit::{CliError, Exit, Outcome};
use super::stop::StopSignals;
use crate::vault::kms::local::{KekFolder, KeyServer, keep_out_of_dumps};
use crate::vault::sealing::Owner;
use crate::vault::{self, Vault};

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
    /// Wrap every organisation's keys by the newest version of the key-encryption key; safe to repeat
    Rewrap,
}

impl KmsCommand {
    pub async fn run(self, global: &GlobalArgs) -> Outcome {
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
    let kms = vault::kms(&config.vault).map_err(CliError::unavailable)?;
    let kms =
        kms.ok_or_else(|| CliError::usage("no KMS is configured: set vault.socket or vault.google_key"))?;
    let database = Database::new(&config.postgres.database_options());
    let vault = Vault::new(database.clone(), kms);
    let owners: Vec<(uuid::Uuid, uuid::Uuid)> = sqlx::query_as(OWNERS)
        .fetch_all(database.log())
        .await
        .map_err(CliError::unavailable)?;
    let mut anew = 0;
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
