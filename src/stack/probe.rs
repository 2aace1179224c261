//! Whether a server does its work: not whether its port is open, but whether it answers a real question.

use async_nats::ConnectOptions;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection};
use std::path::PathBuf;

use crate::vault::kms::local::LocalKms;
use crate::vault::kms::probe;

/// How one server is asked.
#[derive(Debug)]
pub(super) enum Probe {
    /// A query over a new connection.
    Postgres(Box<PgConnectOptions>),
    /// Account information from JetStream, which answers only once its store is open.
    Nats {
        address: String,
        user: &'static str,
        password: SecretString,
    },
    /// PING after AUTH.
    Redis { url: SecretString },
    /// A key to be wrapped.
    Kms { socket: PathBuf },
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Probe {
    /// Asks once. The error is for people: the reason shown when the server never becomes ready.
    pub async fn ask(&self) -> Result<(), String> {
        let answer = match self {
            Self::Postgres(options) => ask_postgres(options).await,
            Self::Nats {
                address,
                user,
                password,
            } => ask_nats(address, user, password).await,
            Self::Redis { url } => ask_redis(url).await,
            Self::Kms { socket } => probe(&LocalKms::new(socket)).await.map_err(Into::into),
        };
        answer.map_err(|e| e.to_string())
    }
}

async fn ask_postgres(options: &PgConnectOptions) -> Result<(), Failure> {
    let mut connection = options.connect().await?;
    sqlx::query("SELECT 1").execute(&mut connection).await?;
    Ok(connection.close().await?)
}

async fn ask_nats(address: &str, user: &str, password: &SecretString) -> Result<(), Failure> {
    let options =
        ConnectOptions::with_user_and_password(user.to_owned(), password.expose_secret().to_owned());
    let client = options.max_reconnects(1).connect(address).await?;
    let answer = async_nats::jetstream::new(client.clone()).query_account().await;
    client.drain().await?;
    answer.map(drop).map_err(Into::into)
}

async fn ask_redis(url: &SecretString) -> Result<(), Failure> {
    let client = redis::Client::open(url.expose_secret())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let _pong: String = redis::cmd("PING").query_async(&mut connection).await?;
    Ok(())
}
