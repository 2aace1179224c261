//! `[nats]`: the backbone, and how its streams are kept.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::check::Checks;
use crate::subscriber::CalloutKey;

const DAY_S: u64 = 24 * 3600;

/// The backbone.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsConfig {
    /// `nats://host:port` or `tls://host:port`; several separated by commas.
    pub url: String,
    /// User, where the server asks for one.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// 64 hexadecimal digits: the key that the server's auth callout trusts as `issuer`. With it tenants' programs may
    /// log in by credentials that are issued here.
    pub callout_key: Option<SecretString>,
    /// A credentials file instead of user and password.
    pub credentials_file: Option<PathBuf>,
    /// Certificates that the server's is checked against; the system's if absent.
    pub tls_ca_file: Option<PathBuf>,
    /// Streams are named `<PREFIX>_EVENTS_<partition>`, subjects `<prefix>.events.…`.
    pub prefix: String,
    /// Partitions that new tenants are spread over. A tenant keeps its own.
    pub partitions: u32,
    /// Copies of a stream in a NATS cluster.
    pub stream_replicas: usize,
    /// How large a stream may grow before its oldest messages go; reserved on disk.
    pub stream_max_bytes: u64,
    /// How long a message stays: longer than the backup interval plus the time a restore takes.
    pub stream_max_age_s: u64,
    /// How long the server remembers message ids.
    pub stream_duplicate_window_s: u64,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            user: None,
            password: None,
            callout_key: None,
            credentials_file: None,
            tls_ca_file: None,
            prefix: "counterfoil".to_owned(),
            partitions: 1,
            stream_replicas: 1,
            // Four million events of the usual size; a small machine can still reserve it.
            stream_max_bytes: 4 << 30,
            stream_max_age_s: 30 * DAY_S,
            stream_duplicate_window_s: 120,
        }
    }
}

impl NatsConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        let known = |url: &str| url.starts_with("nats://") || url.starts_with("tls://");
        let sound = self
            .url
            .split(',')
            .all(|url| known(url.trim()) && !url.contains('@'));
        checks.require(
            "nats.url",
            sound,
            "must be `nats://host:port` or `tls://host:port`, with the login in nats.user and nats.password",
        );
        checks.require(
            "nats.callout_key",
            self.callout_key.is_none() || self.callout_key().is_some(),
            "must be 64 hexadecimal digits",
        );
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let named = (1..=32).contains(&self.prefix.len()) && self.prefix.bytes().all(plain);
        checks.require(
            "nats.prefix",
            named,
            "must be 1 to 32 lower-case letters, digits or `_`",
        );
        checks.within("nats.partitions", self.partitions, 1..=64);
        checks.within("nats.stream_replicas", self.stream_replicas, 1..=5);
        checks.within("nats.stream_max_bytes", self.stream_max_bytes, 16 << 20..=1 << 50);
        checks.within(
            "nats.stream_max_age_s",
            self.stream_max_age_s,
            DAY_S..=3650 * DAY_S,
        );
        checks.within(
            "nats.stream_duplicate_window_s",
            self.stream_duplicate_window_s,
            1..=3600,
        );
    }

    /// By which logins of subscribers are answered.
    #[must_use]
    pub fn callout_key(&self) -> Option<CalloutKey> {
        let mut bytes = [0; 32];
        let text = self.callout_key.as_ref()?;
        hex::decode_to_slice(text.expose_secret(), &mut bytes).ok()?;
        CalloutKey::new(bytes).ok()
    }

    /// The servers' addresses.
    #[must_use]
    pub fn servers(&self) -> Vec<&str> {
        self.url.split(',').map(str::trim).collect()
    }

    /// Login and protection.
    ///
    /// # Errors
    /// A credentials file that cannot be read.
    pub async fn connect_options(&self) -> std::io::Result<async_nats::ConnectOptions> {
        let mut options = async_nats::ConnectOptions::new().name("counterfoil");
        if let Some(path) = &self.credentials_file {
            options = options.credentials_file(path).await?;
        }
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            options = options.user_and_password(user.clone(), password.expose_secret().to_owned());
        }
        if let Some(path) = &self.tls_ca_file {
            options = options.add_root_certificates(path.clone());
        }
        Ok(options)
    }
}
