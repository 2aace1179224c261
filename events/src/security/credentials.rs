//! Tokens or sessions of users, found by what their holder shows.
//!
//! A revoked one is gone: whoever shows it is nobody. One that ended goes when its user gets the next: all of a kind live
//! equally long, so that a new one's end tells which have ended.

use std::collections::HashMap;
use std::time::Duration;

use crate::agent::key::{KeyPrefix, PresentedHash};
use crate::ids::{ApiKeyHash, ApiKeyId, UserId};
use crate::timestamp::Timestamp;
use crate::user::VouchedBy;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Credential {
    pub(super) user: UserId,
    pub(super) id: ApiKeyId,
    pub(super) hash: ApiKeyHash,
    pub(super) expires_at: Timestamp,
    /// By whose word a session was opened, where it was an issuer's.
    pub(super) vouched_by: Option<VouchedBy>,
}

/// What is known of a user's token or session, but for what its holder shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub id: ApiKeyId,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// By whose word a session was opened, where it was an issuer's.
    pub vouched_by: Option<VouchedBy>,
}

/// All of one kind, each of which lives `LIFE_S` seconds.
#[derive(Default)]
pub(super) struct Credentials<const LIFE_S: u64> {
    /// By the public part, which few share.
    by_prefix: HashMap<KeyPrefix, Vec<Credential>>,
    /// So that a user's next one finds the ones before.
    by_user: HashMap<UserId, Vec<Known>>,
}

impl<const LIFE_S: u64> Credentials<LIFE_S> {
    pub(super) fn find(&self, prefix: KeyPrefix, hash: &PresentedHash) -> Option<Credential> {
        let candidates = self.by_prefix.get(&prefix)?;
        candidates.iter().find(|known| hash.matches(&known.hash)).copied()
    }

    pub(super) fn of(&self, user: UserId) -> impl Iterator<Item = Known> {
        self.by_user.get(&user).into_iter().flatten().copied()
    }

    pub(super) fn issue(&mut self, new: Credential) {
        let begun_at = new.expires_at.checked_sub(Duration::from_secs(LIFE_S));
        self.forget(new.user, |id, end| {
            id == new.id || begun_at.is_some_and(|begun| end <= begun)
        });
        let known = self.by_user.entry(new.user).or_default();
        known.push(Known {
            id: new.id,
            expires_at: new.expires_at,
            vouched_by: new.vouched_by,
        });
        let prefix = KeyPrefix::of(new.id);
        self.by_prefix.entry(prefix).or_default().push(new);
    }

    pub(super) fn forget(&mut self, user: UserId, which: impl Fn(ApiKeyId, Timestamp) -> bool) {
        let Some(known) = self.by_user.get_mut(&user) else {
            return;
        };
        let gone = known.extract_if(.., |known| which(known.id, known.expires_at));
        for gone in gone {
            let prefix = KeyPrefix::of(gone.id);
            if let Some(same) = self.by_prefix.get_mut(&prefix) {
                same.retain(|known| (known.user, known.id) != (user, gone.id));
                if same.is_empty() {
                    self.by_prefix.remove(&prefix);
                }
            }
        }
        if known.is_empty() {
            self.by_user.remove(&user);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_prefix.values().map(Vec::len).sum()
    }
}
