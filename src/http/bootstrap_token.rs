//! The bootstrap token as a kind of credential.

use counterfoil_events::security::SecurityState;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::auth::{Authenticate, Principal};
use super::problem::{self, ApiError};

/// The token by which everything is administered until there is an administrator.
///
/// Only a hash under a key of this process is held, and hashes are compared in constant time, so that
/// neither memory nor timing tells the token.
pub struct BootstrapToken {
    key: [u8; 32],
    hash: blake3::Hash,
    /// Says whether it is closed; without it, as in tests of other things, it never is.
    security: Option<SecurityState>,
}

impl BootstrapToken {
    /// Holds the configured token's hash.
    #[must_use]
    pub fn new(token: &SecretString) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        key[16..].copy_from_slice(Uuid::new_v4().as_bytes());
        let hash = blake3::keyed_hash(&key, token.expose_secret().as_bytes());
        Self {
            key,
            hash,
            security: None,
        }
    }

    /// Refused once the log says that it is closed, and undecided while that is not known.
    #[must_use]
    pub fn until_closed(mut self, security: SecurityState) -> Self {
        self.security = Some(security);
        self
    }

    fn is_closed(&self) -> Result<bool, ApiError> {
        match &self.security {
            None => Ok(false),
            Some(security) if security.freshness().may_answer() => Ok(security.is_bootstrap_closed()),
            Some(_) => Err(problem::UNAVAILABLE
                .detail(
                    "whether this credential is still heeded cannot be said at the moment; nothing was done",
                )
                .because("the security state is stale")),
        }
    }
}

impl Authenticate for BootstrapToken {
    fn authenticate(&self, credential: &str) -> Result<Option<Principal>, ApiError> {
        // `blake3::Hash` compares in constant time.
        let same = blake3::keyed_hash(&self.key, credential.as_bytes()) == self.hash;
        Ok((same && !self.is_closed()?).then_some(Principal::Bootstrap))
    }
}
