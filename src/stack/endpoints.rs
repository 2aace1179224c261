//! Where the servers listen, and what opens them.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;

use super::credentials::Credentials;
use super::{nats, postgres, redis};

/// Addresses and credentials of a running stack. All are on loopback, and stay the same while it runs.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// Always a loopback address.
    pub host: &'static str,
    /// Postgres's port.
    pub postgres_port: u16,
    /// Postgres's superuser.
    pub postgres_superuser: &'static str,
    /// The superuser's password.
    pub postgres_password: SecretString,
    /// NATS's address, `nats://host:port`.
    pub nats_url: String,
    /// NATS's user.
    pub nats_user: &'static str,
    /// That user's password.
    pub nats_password: SecretString,
    /// By which logins of subscribers are answered, 64 hexadecimal digits.
    pub nats_callout_key: SecretString,
    /// Redis's port.
    pub redis_port: u16,
    /// Redis's address with its password, `redis://:password@host:port/`.
    pub redis_url: SecretString,
    /// The key process's socket, where there is one.
    pub kms_socket: Option<PathBuf>,
}

impl Endpoints {
    pub(super) fn new(
        [postgres_port, nats_port, redis_port]: [u16; 3],
        kms_socket: Option<PathBuf>,
        credentials: &Credentials,
    ) -> Self {
        Self {
            host: "127.0.0.1",
            postgres_port,
            postgres_superuser: postgres::SUPERUSER,
            postgres_password: credentials.postgres.clone(),
            nats_url: nats::url(nats_port),
            nats_user: nats::USER,
            nats_password: credentials.nats.clone(),
            nats_callout_key: hex::encode(nats::callout_key(&credentials.nats)).into(),
            redis_port,
            redis_url: redis::url(redis_port, &credentials.redis),
            kms_socket,
        }
    }

    /// A superuser's connection to the database `postgres`; change user, password and database as needed.
    pub fn postgres_admin(&self) -> PgConnectOptions {
        postgres::connect_options(self.postgres_port, &self.postgres_password)
    }

    /// How to connect to [`Self::nats_url`] (async-nats ignores credentials that stand in an address).
    pub fn nats_options(&self) -> async_nats::ConnectOptions {
        let password = self.nats_password.expose_secret().to_owned();
        async_nats::ConnectOptions::with_user_and_password(self.nats_user.to_owned(), password)
    }
}
