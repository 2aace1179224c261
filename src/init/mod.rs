//! `counterfoil init`: everything that must exist before `serve` may run. Repeatable; `serve` itself never migrates.
//!
//! 1. the database and the cluster's roles, as an administrator (`deploy/sql/roles.sql`),
//! 2. the schema, as `counterfoil_owner` (`migrations/`),
//! 3. the signing key, sealed by the KMS, and the pepper of API keys, only while the log has no signing key: later, one that is gone must be
//!    restored, since another would fit neither the log nor the API keys that were issued,
//! 4. the platform's head and its first signing key (the log's first event, signed by the key that it introduces),
//! 5. the first version of each read model, empty, so that queries have something to ask,
//! 6. the backbone's streams.
//!
//! Each step is safe to repeat and to run from two processes at once: one of each thing is made.

mod genesis;
mod migrate;
mod roles;

use std::path::PathBuf;
use std::sync::Arc;

use counterfoil_events::backbone::{Backbone, BackboneError};
use counterfoil_events::ids::Fingerprint;
use counterfoil_events::ledger::{Database, DatabaseError, LogReader, Sequencer, SequencerOptions};
use counterfoil_events::timestamp::SystemClock;
use counterfoil_projections::engine::{EngineError, ensure_live};
use secrecy::SecretString;

use crate::config::{Config, PostgresRole};
use crate::serve::{ServeError, backbone_options};
use crate::signing::{self, KeyFile, KeyFileError};

use genesis::is_begun;
pub use genesis::{GenesisError, introduce_first_key};
pub use migrate::{MigrateError, applied_versions, migrate, migrate_to, newest_migration, revert};
pub use roles::{Logins, RolesError, prepare_cluster};

/// The installation could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A setting that only `init` needs is not there.
    #[error("{0} is not set: `init` needs it")]
    NotSet(&'static str),
    /// Step 1.
    #[error(transparent)]
    Roles(#[from] RolesError),
    /// Step 2.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// Step 3.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A secret of an installation that is at work is not where it belongs.
    #[error(
        "secret file {0} is missing: restore it from its backup (this database was made with it; another would not fit)"
    )]
    Missing(PathBuf),
    /// Step 4.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// A server whose commits are not durable.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Step 5.
    #[error(transparent)]
    ReadModels(#[from] EngineError),
    /// Step 6.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// A configuration that cannot be used.
    #[error(transparent)]
    Config(#[from] ServeError),
}

/// Makes an installation, or finds it made; answers the first signing key's fingerprint.
///
/// # Errors
/// See [`InitError`]; what was made stays, and the next call goes on.
pub async fn initialise(config: &Config) -> Result<Fingerprint, InitError> {
    let admin = config
        .postgres
        .connect_as_admin()
        .ok_or(InitError::NotSet("postgres.admin_user"))?;
    prepare_cluster(
        &admin.database("postgres"),
        &config.postgres.database,
        &logins(config).map_err(InitError::NotSet)?,
    )
    .await?;
    migrate(&config.postgres.connect_as(PostgresRole::Owner)).await?;
    let database = Database::new(&config.postgres.database_options());
    database.check_durability().await?;
    let is_begun = is_begun(&LogReader::new(database.log().clone())).await?;
    let key_file = KeyFile::configured(config)?;
    ensure_secrets(config, &key_file, is_begun).await?;
    let key = key_file.current().await?;
    let sequencer = Sequencer::new(
        database.clone(),
        key,
        Arc::new(SystemClock),
        SequencerOptions::default(),
    );
    let fingerprint = introduce_first_key(&sequencer).await?;
    sequencer.stop().await;
    for projection in counterfoil_projections::all() {
        ensure_live(database.projector(), projection.as_ref()).await?;
    }
    database.close().await;
    ensure_streams(config).await?;
    Ok(fingerprint)
}

/// Step 3.
async fn ensure_secrets(config: &Config, key_file: &KeyFile, is_begun: bool) -> Result<(), InitError> {
    let pepper = &config.auth.key_pepper_file;
    for path in [pepper.as_path(), key_file.path()] {
        if is_begun && !path.exists() {
            return Err(InitError::Missing(path.to_owned()));
        }
    }
    signing::ensure(pepper)?;
    Ok(key_file.ensure().await?)
}

async fn ensure_streams(config: &Config) -> Result<(), InitError> {
    let backbone = Backbone::connect(backbone_options(&config.nats).await?).await?;
    // A start without NATS works too, so this waits for a moment only.
    backbone.connected(std::time::Duration::from_secs(5)).await;
    for partition in 0..config.nats.partitions {
        match backbone.ensure_stream(partition).await {
            Ok(_) => {}
            // A start without NATS works; the relay makes the stream when it comes.
            Err(BackboneError::Nats(reason)) => {
                tracing::warn!(
                    partition,
                    reason,
                    "NATS does not answer: the stream is made when it does"
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The passwords of the roles; the name of one that is not set.
pub(crate) fn logins(config: &Config) -> Result<Logins, &'static str> {
    let password = |role: PostgresRole, key: &'static str| -> Result<SecretString, &'static str> {
        config.postgres.password(role).cloned().ok_or(key)
    };
    Ok(Logins {
        owner: password(PostgresRole::Owner, "postgres.owner_password")?,
        app: password(PostgresRole::App, "postgres.app_password")?,
        reader: password(PostgresRole::Reader, "postgres.reader_password")?,
        log: password(PostgresRole::Log, "postgres.log_password")?,
        projector: password(PostgresRole::Projector, "postgres.projector_password")?,
    })
}
