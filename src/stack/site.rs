//! What a start stands on: the locked data directory, the programs, the credentials, and Postgres's home.

use std::path::PathBuf;

use super::StackConfig;
use super::binaries::Binaries;
use super::credentials::Credentials;
use super::data_dir::DataDir;
use super::error::StackError;
use super::home::Home;
use super::server::{ServerKind, ServerSpec};
use super::{kms, leftover, nats, postgres, redis};

pub(super) struct Site {
    pub data_dir: DataDir,
    pub credentials: Credentials,
    binaries: Binaries,
    home: Home,
    postgres_settings: Vec<(String, String)>,
    key_process: Option<PathBuf>,
}

impl Site {
    /// Programs are looked for before anything is made, so that a machine without them stays as it was but for the
    /// directory.
    pub async fn prepare(config: &StackConfig) -> Result<Self, StackError> {
        let data_dir = DataDir::open(&config.data_dir)?;
        let binaries = Binaries::find(
            &config.search_path,
            &data_dir.of(ServerKind::Postgres).join("data"),
        )?;
        for kind in ServerKind::ALL.into_iter().chain([ServerKind::Kms]) {
            leftover::end(kind, &data_dir.pid_file(kind)).await?;
        }
        let credentials = Credentials::load_or_create(&data_dir)?;
        let home = Home::open(&data_dir).await?;
        postgres::init(&home, &binaries, &credentials.postgres).await?;
        Ok(Self {
            data_dir,
            credentials,
            binaries,
            home,
            postgres_settings: config.postgres_settings.clone(),
            key_process: config.key_process.clone(),
        })
    }

    /// How to run the key process, where one is wanted.
    pub fn key_process(&self) -> Option<ServerSpec> {
        let program = self.key_process.as_deref()?;
        Some(kms::spec(&self.data_dir, program))
    }

    /// How to run one of the servers on `port`.
    pub async fn spec(&self, kind: ServerKind, port: u16) -> Result<ServerSpec, StackError> {
        let Self {
            data_dir,
            credentials,
            binaries,
            home,
            postgres_settings,
            ..
        } = self;
        match kind {
            ServerKind::Postgres => {
                let password = &credentials.postgres;
                Ok(postgres::spec(home, data_dir, binaries, port, password, postgres_settings).await)
            }
            ServerKind::Nats => nats::spec(data_dir, binaries.nats.clone(), port, &credentials.nats),
            ServerKind::Redis => redis::spec(data_dir, binaries.redis.clone(), port, &credentials.redis),
            ServerKind::Kms => self.key_process().ok_or(StackError::NotRunning(kind)),
        }
    }
}
