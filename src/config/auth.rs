//! `[auth]`: the bootstrap token, by which everything is administered until there is an administrator; the pepper of keys
//! and tokens; and what issuers are fetched from.

use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::check::Checks;
use crate::kri::guard::AllowedNet;

/// Shortest token or secret: 128 bits in base64 and more.
const MIN_TOKEN_BYTES: usize = 32;
const TOKEN_RULE: &str = "must be 32 to 1024 visible ASCII characters";

/// Who administers, and where users sign in.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Heeded until an administrator takes its place; `up` makes and prints one.
    pub bootstrap_token: Option<SecretString>,
    /// The file of the pepper under which API keys are hashed (mode 0600). Without it no key works.
    pub key_pepper_file: PathBuf,
    /// How issuers are fetched.
    pub issuers: IssuersConfig,
    /// An issuer of our own, for development.
    pub local_issuer: Option<LocalIssuerConfig>,
}

/// How issuers are fetched.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuersConfig {
    /// Private addresses that issuers may be at, such as `10.1.0.0/16` or `127.0.0.1:8091`. Only addresses of this machine
    /// are fetched without TLS.
    pub allow_private: Vec<AllowedNet>,
}

/// The issuer of our own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalIssuerConfig {
    /// Where it listens: on this machine alone; port 0 picks one.
    #[serde(default = "local_issuer_address")]
    pub address: SocketAddr,
    /// Whoever has it gets tokens of anyone.
    pub secret: SecretString,
}

impl LocalIssuerConfig {
    /// With a secret that only this start knows, and prints.
    #[must_use]
    pub fn of_this_start() -> Self {
        let random = || uuid::Uuid::new_v4().simple();
        Self {
            address: local_issuer_address(),
            secret: format!("cfl_{}{}", random(), random()).into(),
        }
    }
}

fn local_issuer_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8091))
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            bootstrap_token: None,
            key_pepper_file: PathBuf::from(".counterfoil/key.pepper"),
            issuers: IssuersConfig::default(),
            local_issuer: None,
        }
    }
}

impl AuthConfig {
    /// `http_address` is where the API listens: a local issuer on a machine that others reach would let them in.
    pub(super) fn check(&self, http_address: SocketAddr, checks: &mut Checks) {
        if let Some(token) = &self.bootstrap_token {
            checks.require("auth.bootstrap_token", is_sound(token), TOKEN_RULE);
        }
        let Some(local) = &self.local_issuer else {
            return;
        };
        checks.require("auth.local_issuer.secret", is_sound(&local.secret), TOKEN_RULE);
        let here = local.address.ip().is_loopback() && http_address.ip().is_loopback();
        checks.require(
            "auth.local_issuer.address",
            here,
            "must be of this machine alone (127.0.0.1), and so must http.address: a local issuer lets anyone in",
        );
    }
}

fn is_sound(token: &SecretString) -> bool {
    let token = token.expose_secret();
    (MIN_TOKEN_BYTES..=1024).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
}
