//! How a subject is found, and how the log is held to it without naming it.
//!
//! Whom an issuer means by `sub` stands nowhere, neither in the log nor beside it. Beside the log lies a row with a hash of
//! issuer and subject under a key of the server's ([`SubjectHash`]), by which a token finds its user, and a salt. The
//! event of the link carries a [commitment](commit) to both under that salt: a row that was changed, or moved to another
//! link, is not believed; and once the row is deleted, nobody can tell from the log who it was, not even with the key and
//! a guess.

use zeroize::Zeroizing;

use crate::agent::key::KeyPepper;
use crate::ids::{IssuerId, SubjectCommitment, SubjectLinkId, UserId};

/// Longest subject (OpenID Connect Core 1.0 §2: at most 255 ASCII characters).
pub const SUBJECT_BYTES_MAX: usize = 255;

/// A hash of issuer and subject under a key of the server's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SubjectHash(pub [u8; 32]);

/// What makes the commitment of a link impossible to guess: 32 random bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SubjectSalt(pub [u8; 32]);

/// What lies beside the log for one link.
#[derive(Clone, Copy)]
pub struct SubjectRow {
    /// Whose row it is.
    pub link: SubjectLinkId,
    /// By which a token finds it.
    pub hash: SubjectHash,
    /// The salt of the link's commitment.
    pub salt: SubjectSalt,
}

impl SubjectHash {
    /// Of `subject` at `issuer`. The key is derived from the pepper for this alone.
    #[must_use]
    pub fn of(pepper: &KeyPepper, issuer: IssuerId, subject: &str) -> Self {
        let context = "counterfoil 2026 subject lookup v1";
        let key = Zeroizing::new(blake3::derive_key(context, pepper.expose_bytes()));
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(issuer.0.as_bytes());
        hasher.update(subject.as_bytes());
        Self(*hasher.finalize().as_bytes())
    }
}

impl SubjectSalt {
    /// A fresh one, of the operating system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self(*KeyPepper::generate().expose_bytes())
    }
}

impl std::fmt::Debug for SubjectSalt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectSalt(…)")
    }
}

/// What the event of a link says of its row.
#[must_use]
pub fn commit(user: UserId, issuer: IssuerId, row: &SubjectRow) -> SubjectCommitment {
    let mut hasher = blake3::Hasher::new_keyed(&row.salt.0);
    for part in [user.0, issuer.0, row.link.0] {
        hasher.update(part.as_bytes());
    }
    hasher.update(&row.hash.0);
    SubjectCommitment(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_holds_to_one_user_link_issuer_and_subject() {
        let pepper = KeyPepper::new([3; 32]);
        let (user, issuer) = (UserId::generate(), IssuerId::generate());
        let row = SubjectRow {
            link: SubjectLinkId::generate(),
            hash: SubjectHash::of(&pepper, issuer, "anna"),
            salt: SubjectSalt::generate(),
        };
        let committed = commit(user, issuer, &row);
        assert_eq!(commit(user, issuer, &row), committed);
        let others = [
            commit(UserId::generate(), issuer, &row),
            commit(user, IssuerId::generate(), &row),
            commit(
                user,
                issuer,
                &SubjectRow {
                    link: SubjectLinkId::generate(),
                    ..row
                },
            ),
            commit(
                user,
                issuer,
                &SubjectRow {
                    salt: SubjectSalt::generate(),
                    ..row
                },
            ),
            commit(
                user,
                issuer,
                &SubjectRow {
                    hash: SubjectHash::of(&pepper, issuer, "bert"),
                    ..row
                },
            ),
        ];
        assert!(others.iter().all(|other| *other != committed));
    }

    #[test]
    fn a_subject_is_another_at_another_issuer_and_under_another_pepper() {
        let (one, two) = (KeyPepper::new([1; 32]), KeyPepper::new([2; 32]));
        let (here, there) = (IssuerId::generate(), IssuerId::generate());
        let hashes = [
            SubjectHash::of(&one, here, "anna"),
            SubjectHash::of(&one, there, "anna"),
            SubjectHash::of(&two, here, "anna"),
            SubjectHash::of(&one, here, "bert"),
        ];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[at + 1..].contains(hash));
        }
    }
}
