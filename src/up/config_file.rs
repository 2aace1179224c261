//! The configuration of an installation that `up` made, as a file: so that `counterfoil --config FILE audit verify`
//! and other commands (`--data DIR`) find its servers and its API while it runs. Written at each start, since ports may
//! have changed; it holds passwords and the bootstrap token (0600).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::access::AccessError;
use super::private_file;
use crate::config::{Config, PostgresConfig, PostgresRole};

const NAME: &str = "counterfoil.toml";
/// Whoever can read the file can start `up` itself; the owner's and the administrator's logins are for `init` alone.
const ROLES: [(PostgresRole, &str); 4] = [
    (PostgresRole::App, "app_password"),
    (PostgresRole::Reader, "reader_password"),
    (PostgresRole::Log, "log_password"),
    (PostgresRole::Projector, "projector_password"),
];

/// Where the file lies.
#[must_use]
pub fn path(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// Writes it.
///
/// # Errors
/// When the file refuses.
pub(super) fn write(data: &Path, config: &Config) -> Result<(), AccessError> {
    let path = path(data);
    let written = private_file::write(&path, text(config).as_bytes());
    written.map_err(|source| AccessError::Io { path, source })
}

fn text(config: &Config) -> String {
    let mut text = String::from(
        "# Written by `counterfoil up` at each start; for commands that work on it while it runs.\n",
    );
    // Writing to a string cannot fail.
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key} = {}", quoted(value));
    };
    line("signing.key_file", &config.signing.key_file.to_string_lossy());
    line(
        "auth.key_pepper_file",
        &config.auth.key_pepper_file.to_string_lossy(),
    );
    if let Some(socket) = &config.vault.socket {
        line("vault.socket", &socket.to_string_lossy());
    }
    if let Some(key) = &config.vault.google_key {
        line("vault.google_key", key);
        line("vault.google_endpoint", &config.vault.google_endpoint);
    }
    line("nats.url", &config.nats.url);
    line("nats.user", config.nats.user.as_deref().unwrap_or_default());
    if let Some(password) = &config.nats.password {
        line("nats.password", password.expose_secret());
    }
    if let Some(key) = &config.nats.callout_key {
        line("nats.callout_key", key.expose_secret());
    }
    line("nats.prefix", &config.nats.prefix);
    if let Some(url) = &config.redis.url {
        line("redis.url", url.expose_secret());
    }
    line("http.address", &config.http.address.to_string());
    if let Some(token) = &config.auth.bootstrap_token {
        line("auth.bootstrap_token", token.expose_secret());
    }
    let PostgresConfig {
        host, port, database, ..
    } = &config.postgres;
    line("postgres.host", host);
    line("postgres.database", database);
    line("postgres.tls", "disable");
    for (role, key) in ROLES {
        if let Some(password) = config.postgres.password(role) {
            line(&format!("postgres.{key}"), password.expose_secret());
        }
    }
    let mut number = |key: &str, value: u64| {
        let _ = writeln!(text, "{key} = {value}");
    };
    number("postgres.port", u64::from(*port));
    number("nats.partitions", u64::from(config.nats.partitions));
    number("nats.stream_max_bytes", config.nats.stream_max_bytes);
    number("nats.stream_max_age_s", config.nats.stream_max_age_s);
    number(
        "nats.stream_duplicate_window_s",
        config.nats.stream_duplicate_window_s,
    );
    text
}

/// A JSON string is a TOML string too.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::config::Sources;

    #[test]
    fn what_is_written_is_a_configuration_with_the_same_servers() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.postgres.host = "127.0.0.1".to_owned();
        config.postgres.port = 21_234;
        config.postgres.log_password = Some("0123".into());
        config.nats.url = "nats://127.0.0.1:21235".to_owned();
        config.nats.user = Some("counterfoil".to_owned());
        config.nats.password = Some("secret".into());
        config.signing.key_file = PathBuf::from("/data \"x\"/signing.key");
        config.vault.socket = Some(PathBuf::from("/data \"x\"/run/kms.sock"));
        write(directory.path(), &config).unwrap();
        let sources = Sources::default().file(Some(path(directory.path())));
        let read = Config::load(sources).unwrap();
        assert_eq!((read.postgres.port, read.nats.url), (21_234, config.nats.url));
        assert_eq!(read.signing.key_file, config.signing.key_file);
        assert_eq!(read.vault.socket, config.vault.socket);
        let password = read.postgres.log_password.unwrap();
        assert_eq!(
            password.expose_secret(),
            "0123",
            "a password of digits stays a text"
        );
    }
}
