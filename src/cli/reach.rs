//! Whether the servers that a command needs answer, asked before it begins: so that the error names which one, and where,
//! instead of a pool that waited in vain.

use std::time::Duration;

use counterfoil_events::backbone::Backbone;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::timeout;

use super::GlobalArgs;
use super::exit::CliError;
use crate::config::{Config, PostgresRole};
use crate::serve::backbone_options;

/// As long as the pools wait for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Postgres lets this role in; otherwise the error has the server's address.
pub(super) async fn postgres(
    config: &Config,
    role: PostgresRole,
    global: &GlobalArgs,
) -> Result<(), CliError> {
    postgres_as(config.postgres.connect_as(role), global).await
}

/// The same for whoever prepares the cluster; who that is, is said elsewhere where it is not configured.
pub(super) async fn postgres_as_admin(config: &Config, global: &GlobalArgs) -> Result<(), CliError> {
    match config.postgres.connect_as_admin() {
        // The database itself may be still to be made.
        Some(login) => postgres_as(login.database("postgres"), global).await,
        None => Ok(()),
    }
}

async fn postgres_as(login: PgConnectOptions, global: &GlobalArgs) -> Result<(), CliError> {
    let server = format!("Postgres at {}:{}", login.get_host(), login.get_port());
    match timeout(PATIENCE, login.connect()).await {
        Ok(Ok(connection)) => {
            // It was only a question; whether the good-bye arrives does not matter.
            let _ = connection.close().await;
            Ok(())
        }
        // It answers, and says no: that is not for want of a server.
        Ok(Err(sqlx::Error::Database(refused))) => Err(CliError::unavailable(format!(
            "{server} refuses {}: {}",
            login.get_username(),
            refused.message()
        ))),
        // Without sqlx's own words around it.
        Ok(Err(sqlx::Error::Io(error))) => Err(silent(&server, &error, global)),
        Ok(Err(error)) => Err(silent(&server, &error, global)),
        Err(_) => Err(silent(&server, &late(), global)),
    }
}

/// A connection to NATS that is up; otherwise the error has the server's address.
pub(super) async fn backbone(config: &Config, global: &GlobalArgs) -> Result<Backbone, CliError> {
    let options = backbone_options(&config.nats).await.map_err(CliError::usage)?;
    let backbone = Backbone::connect(options).await.map_err(CliError::unavailable)?;
    if backbone.connected(PATIENCE).await {
        return Ok(backbone);
    }
    let server = format!("NATS at {}", without_login(&config.nats.url));
    Err(silent(&server, &late(), global))
}

fn late() -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
}

fn silent(server: &str, why: &dyn std::fmt::Display, global: &GlobalArgs) -> CliError {
    CliError::unavailable(format!("{server} does not answer: {why}. {}", hint(global)))
}

/// What to look at.
fn hint(global: &GlobalArgs) -> String {
    if global.means_data() {
        let place = global.place();
        return format!("Is `counterfoil up` running? This starts it: counterfoil up{place}");
    }
    "Is it running, and where the configuration says? (An `up` is named by its directory: --data DIR)"
        .to_owned()
}

/// Addresses without the user and password that may stand before them.
fn without_login(urls: &str) -> String {
    let bare = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, server))) => format!("{scheme}://{server}"),
        (None, Some((_, server))) => server.to_owned(),
        _ => url.to_owned(),
    };
    urls.split(',').map(bare).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::without_login;

    #[test]
    fn an_address_is_named_without_its_login() {
        assert_eq!(
            without_login("nats://me:secret@one:4222,tls://two:4222"),
            "nats://one:4222,tls://two:4222"
        );
        assert_eq!(without_login("me:p@ss@one:4222"), "one:4222");
    }
}
