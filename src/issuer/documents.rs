//! An issuer's documents, fetched: its description (OpenID Connect Discovery 1.0 §4), then the keys that this names.
//!
//! The description must name the issuer exactly as it is configured (§4.3): otherwise it is another's. Both URLs are https,
//! to public addresses; private ones, and plain http to this machine, only as `auth.issuers.allow_private` admits them. Time and bytes
//! are bounded, redirects are refused, names are resolved once: it is the fetcher of sources (`src/kri/fetch.rs`).

use std::net::SocketAddr;

use counterfoil_events::issuer::IssuerUrl;
use serde::Deserialize;

use super::key_set::{KeySet, NoKeys};
use crate::kri::ConnectorError;
use crate::kri::config::FetchConfig;
use crate::kri::fetch::Fetcher;
use crate::kri::guard::{AllowedNet, NetworkGuard, RefusedAddress};
use crate::kri::target::{Host, Target, TargetError};

/// Largest document: keys with their certificates are a few kilobytes each.
const BYTES_MAX: usize = 256 * 1024;
/// For each document, all in all. Somebody waits for it.
const TIMEOUT_MS: u64 = 5_000;
const ACCEPT: &str = "application/json";

/// An issuer's keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// A URL that is not fetched.
    #[error("{url}: {reason}")]
    Url {
        /// Which one.
        url: String,
        /// Why not.
        reason: UrlRefused,
    },
    /// It did not come.
    #[error("{url}: {source}")]
    Fetch {
        /// From where.
        url: String,
        /// Why not.
        source: Box<ConnectorError>,
    },
    /// What came back is not a provider's description.
    #[error("{url} is not a description of an OpenID provider: {source}")]
    Malformed {
        /// From where.
        url: String,
        /// What is malformed in it.
        source: serde_json::Error,
    },
    /// Another issuer's description.
    #[error("{0} names another issuer than the one that is configured")]
    OtherIssuer(String),
    /// What came back is not a usable set of keys.
    #[error("{url}: {source}")]
    Keys {
        /// From where.
        url: String,
        /// What is wrong with them.
        source: NoKeys,
    },
}

/// Why a URL is not fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// Not well formed.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A private address.
    #[error(transparent)]
    Address(#[from] RefusedAddress),
    /// Plain http to somewhere.
    #[error(
        "an issuer is fetched by https; by http only from an address of this machine that auth.issuers.allow_private admits"
    )]
    Plain,
}

#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

/// Fetches issuers' documents.
#[derive(Debug, Clone)]
pub struct Documents {
    fetcher: Fetcher,
    guard: NetworkGuard,
}

impl Documents {
    /// From public addresses, and these networks.
    #[must_use]
    pub fn new(allow_private: Vec<AllowedNet>) -> Self {
        let config = FetchConfig {
            max_bytes: BYTES_MAX,
            connect_timeout_ms: TIMEOUT_MS,
            total_timeout_ms: TIMEOUT_MS,
            allow_private,
        };
        Self {
            fetcher: Fetcher::new(&config),
            guard: config.guard(),
        }
    }

    /// Whether a URL may be fetched, as far as can be told before its name is resolved.
    ///
    /// # Errors
    /// See [`UrlRefused`].
    pub fn admit(&self, url: &str) -> Result<(), UrlRefused> {
        let target = Target::parse(url)?;
        self.guard.admit_literal(&target)?;
        let this_machine = match target.host() {
            Host::Address(ip) => ip.is_loopback(),
            Host::Name(_) => false,
        };
        match target.is_https() || this_machine {
            true => Ok(()),
            false => Err(UrlRefused::Plain),
        }
    }

    /// The keys of an issuer, as it publishes them now.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub async fn keys(&self, issuer: &IssuerUrl) -> Result<KeySet, DocumentError> {
        let url = description_url(issuer);
        let text = self.fetch(&url).await?;
        let description: Result<Description, _> = serde_json::from_str(&text);
        let description = description.map_err(|source| DocumentError::Malformed {
            url: url.clone(),
            source,
        })?;
        if description.issuer != issuer.as_str() {
            return Err(DocumentError::OtherIssuer(url));
        }
        let url = description.jwks_uri;
        let text = self.fetch(&url).await?;
        KeySet::read(&text).map_err(|source| DocumentError::Keys { url, source })
    }

    async fn fetch(&self, url: &str) -> Result<String, DocumentError> {
        let named = || url.chars().take(200).collect::<String>();
        self.admit(url)
            .map_err(|reason| DocumentError::Url { url: named(), reason })?;
        let fetched = self.fetcher.text(url, ACCEPT, None).await;
        fetched.map_err(|source| DocumentError::Fetch {
            url: named(),
            source: Box::new(source),
        })
    }
}

/// Where an issuer's description is: below its URL, whether or not that ends in a slash.
fn description_url(issuer: &IssuerUrl) -> String {
    let base = issuer.as_str().trim_end_matches('/');
    format!("{base}/.well-known/openid-configuration")
}

/// The network that is just this address and port.
///
/// # Errors
/// Never: an address and port is a network of one.
pub fn only(address: SocketAddr) -> Result<AllowedNet, crate::kri::guard::AllowedNetError> {
    address.to_string().parse()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_url_is_https_or_of_this_machine_where_that_is_allowed() {
        let strict = Documents::new(Vec::new());
        let open = Documents::new(vec![
            "127.0.0.0/8".parse().unwrap(),
            "10.1.0.0/16".parse().unwrap(),
        ]);
        for (url, strictly, openly) in [
            ("https://login.example/x", true, true),
            ("http://login.example/x", false, false),
            ("http://127.0.0.1:8091/x", false, true),
            ("https://127.0.0.1:8091/x", false, true),
            ("http://localhost:8091/x", false, false),
            ("http://10.1.2.3/x", false, false),
            ("https://10.1.2.3/x", false, true),
            ("https://10.2.2.3/x", false, false),
            ("https://169.254.169.254/x", false, false),
            ("file:///etc/passwd", false, false),
            ("https://user@login.example/", false, false),
        ] {
            assert_eq!(strict.admit(url).is_ok(), strictly, "{url}");
            assert_eq!(open.admit(url).is_ok(), openly, "{url}");
        }
    }

    #[test]
    fn a_description_is_below_its_issuer() {
        for issuer in ["https://a.example/t", "https://a.example/t/"] {
            assert_eq!(
                description_url(&issuer.parse().unwrap()),
                "https://a.example/t/.well-known/openid-configuration"
            );
        }
    }
}
