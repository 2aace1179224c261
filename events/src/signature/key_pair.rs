//! A key pair in memory.

use std::fmt;

use aws_lc_rs::signature::Ed25519KeyPair;
use ed25519_dalek::SigningKey;

use super::{PublicKey, Signature, Signer};

/// A key held in memory; wiped when dropped.
///
/// AWS-LC signs in half the time of ed25519-dalek, and every event is signed before its commit. Signatures of RFC 8032
/// are deterministic, so it makes no difference to anybody who made them.
pub struct KeyPair {
    secret: Ed25519KeyPair,
    public: PublicKey,
}

impl KeyPair {
    /// From the 32-byte seed of RFC 8032.
    #[must_use]
    #[allow(clippy::expect_used)]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self {
            // Refused only for a seed of another length.
            secret: Ed25519KeyPair::from_seed_unchecked(seed).expect("32 bytes are a seed"),
            public: PublicKey(SigningKey::from_bytes(seed).verifying_key()),
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public.id())
    }
}

impl Signer for KeyPair {
    fn public_key(&self) -> PublicKey {
        self.public
    }

    #[allow(clippy::expect_used)]
    fn sign_message(&self, message: &[u8]) -> Signature {
        let signature = self.secret.sign(message);
        // Ed25519 signatures have 64 bytes (RFC 8032 §5.1.6).
        Signature(signature.as_ref().try_into().expect("64 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::Signer as _;

    use super::*;

    #[test]
    fn signatures_are_those_of_any_other_implementation() {
        for seed in 0..8 {
            let (ours, other) = (
                KeyPair::from_seed(&[seed; 32]),
                SigningKey::from_bytes(&[seed; 32]),
            );
            let message = vec![seed; usize::from(seed) * 13];
            assert_eq!(ours.sign_message(&message).0, other.sign(&message).to_bytes());
        }
    }
}
