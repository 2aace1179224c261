//! Many signatures by one key, checked against tables of its multiples.
//!
//! What RFC 8032 §5.1.7 asks is whether `R = [s]B - [h]A`. One key signs whole logs, so the multiples of its `A` are
//! tabulated once, like those of `B`: the right side is then 64 additions, where it usually takes 250 doublings beside
//! as many. The verdict is that of ed25519-dalek's `verify_strict`, without exception: `s` is canonical, neither `A` nor
//! `R` is of small order, and `R` is compared as bytes, which leaves one encoding of it. (The usual batch verification
//! would be as fast, but lets some signatures pass that others refuse.) Nothing here is secret, so nothing takes constant
//! time.

use std::fmt;
use std::sync::LazyLock;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha512};

use super::Signature;

/// A scalar has 32 digits of a byte each, taken as signed: -127 to 128.
const DIGITS: usize = 32;
const LARGEST: usize = 128;

static OF_BASE: LazyLock<Multiples> = LazyLock::new(|| Multiples::of(ED25519_BASEPOINT_POINT));

/// A public key with its tables: 640 KiB, made in the time of about ten verifications.
pub(super) struct KeyTables {
    key: [u8; 32],
    of_minus_key: Multiples,
}

impl fmt::Debug for KeyTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyTables({})", hex::encode(self.key))
    }
}

impl KeyTables {
    /// Of a key that is not of small order: [`super::PublicKey`] has made sure.
    pub(super) fn of(key: &VerifyingKey) -> Self {
        Self {
            key: key.to_bytes(),
            of_minus_key: Multiples::of(-key.to_edwards()),
        }
    }

    /// What `verify_strict` says.
    pub(super) fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let (r, s) = halves(&signature.0);
        let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)) else {
            return false;
        };
        let hash = Sha512::new()
            .chain_update(r)
            .chain_update(self.key)
            .chain_update(message)
            .finalize();
        let h = Scalar::from_bytes_mod_order_wide(&hash.into());
        let expected = self
            .of_minus_key
            .add(&h, OF_BASE.add(&s, EdwardsPoint::identity()));
        expected.compress().0 == r && !expected.is_small_order()
    }
}

fn halves(signature: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (mut r, mut s) = ([0; 32], [0; 32]);
    r.copy_from_slice(&signature[..32]);
    s.copy_from_slice(&signature[32..]);
    (r, s)
}

/// For each digit's place the multiples 1 to 128 of a point times 256 to the power of that place.
struct Multiples(Vec<EdwardsPoint>);

impl Multiples {
    fn of(point: EdwardsPoint) -> Self {
        let mut multiples = Vec::with_capacity(DIGITS * LARGEST);
        let mut unit = point;
        for _ in 0..DIGITS {
            let mut multiple = EdwardsPoint::identity();
            for _ in 0..LARGEST {
                multiple += unit;
                multiples.push(multiple);
            }
            unit = multiple + multiple;
        }
        Self(multiples)
    }

    /// `sum + [scalar]point`.
    fn add(&self, scalar: &Scalar, mut sum: EdwardsPoint) -> EdwardsPoint {
        for (place, digit) in digits(scalar).into_iter().enumerate() {
            let multiple = |size: usize| &self.0[place * LARGEST + size - 1];
            let size = usize::from(digit.unsigned_abs());
            match digit {
                0 => {}
                1.. => sum += multiple(size),
                ..0 => sum -= multiple(size),
            }
        }
        sum
    }
}

/// A scalar is below 2^253, so nothing is carried out of its last digit.
fn digits(scalar: &Scalar) -> [i16; DIGITS] {
    let mut carry = 0;
    scalar.as_bytes().map(|byte| {
        let digit = i16::from(byte) + carry;
        carry = i16::from(digit > 128);
        digit - 256 * carry
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    use super::*;

    /// The group's order, little-endian (RFC 8032 §5.1).
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    fn strict(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        key.verify_strict(message, &signature).is_ok()
    }

    fn tabulated(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
        KeyTables::of(key).verifies(message, &Signature(*signature))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_verdict_is_that_of_verify_strict(
            seed: [u8; 32],
            message in prop::collection::vec(any::<u8>(), 0..80),
            changed in prop::option::of((0_usize..64, 1_u8..=255)),
        ) {
            let pair = SigningKey::from_bytes(&seed);
            let mut signature = pair.sign(&message).to_bytes();
            if let Some((at, by)) = changed {
                signature[at] ^= by;
            }
            let key = pair.verifying_key();
            let verdict = tabulated(&key, &message, &signature);
            prop_assert_eq!(verdict, strict(&key, &message, &signature));
            prop_assert_eq!(verdict, changed.is_none());
        }

        #[test]
        fn tables_multiply_as_the_curve_does(wide in prop::collection::vec(any::<u8>(), 64)) {
            let scalar = Scalar::from_bytes_mod_order_wide(&wide.try_into().unwrap());
            let product = OF_BASE.add(&scalar, EdwardsPoint::identity());
            prop_assert_eq!(product, ED25519_BASEPOINT_POINT * scalar);
        }
    }

    #[test]
    fn a_second_encoding_of_s_is_refused() {
        let pair = SigningKey::from_bytes(&[7; 32]);
        let mut signature = pair.sign(b"message").to_bytes();
        let mut carry = 0_u16;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
            carry += u16::from(*byte) + u16::from(order);
            *byte = carry as u8;
            carry >>= 8;
        }
        assert!(!tabulated(&pair.verifying_key(), b"message", &signature));
        assert!(!strict(&pair.verifying_key(), b"message", &signature));
    }

    /// The key's holder makes a signature whose R is off by a point of small order, or is one: others refuse it.
    #[test]
    fn an_r_with_a_part_of_small_order_is_refused() {
        let key = SigningKey::from_bytes(&[9; 32]);
        let a = key.to_scalar();
        for torsion in EIGHT_TORSION {
            for nonce in [Scalar::ZERO, Scalar::from(77_u8)] {
                let r = (ED25519_BASEPOINT_POINT * nonce + torsion).compress().0;
                let public = key.verifying_key();
                let hash = Sha512::new()
                    .chain_update(r)
                    .chain_update(public.to_bytes())
                    .chain_update(b"message")
                    .finalize();
                let s = nonce + Scalar::from_bytes_mod_order_wide(&hash.into()) * a;
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&r);
                signature[32..].copy_from_slice(s.as_bytes());
                let verdict = tabulated(&public, b"message", &signature);
                assert_eq!(verdict, strict(&public, b"message", &signature));
                assert_eq!(
                    verdict,
                    nonce != Scalar::ZERO && torsion == EdwardsPoint::identity()
                );
            }
        }
    }
}
