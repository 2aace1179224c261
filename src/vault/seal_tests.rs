//! What is sealed opens in its place, and nowhere else.
#![allow(clippy::unwrap_used)]

use counterfoil_events::ids::{OrganisationId, TenantId};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::vault::binding::SecretPlace;

/// Everything that a value is bound to, in small ranges, so that two often agree in all but one field.
#[derive(Debug, Clone, PartialEq)]
struct Bound {
    organisation: u8,
    tenant: u8,
    secret: String,
    version: u32,
    purpose: String,
    data_key: u8,
}

impl Bound {
    fn aad(&self) -> Vec<u8> {
        let id = |number| Uuid::from_bytes([number; 16]);
        let place = SecretPlace {
            organisation: OrganisationId(id(self.organisation)),
            tenant: TenantId(id(self.tenant)),
            secret: &self.secret,
            version: self.version,
            purpose: &self.purpose,
        };
        place.of_value(id(self.data_key))
    }
}

fn bound() -> impl Strategy<Value = Bound> {
    let fields = (0u8..2, 0u8..2, "[ab]{1,2}", 1u32..3, "[ab]{1,2}", 0u8..2);
    fields.prop_map(
        |(organisation, tenant, secret, version, purpose, data_key)| Bound {
            organisation,
            tenant,
            secret,
            version,
            purpose,
            data_key,
        },
    )
}

proptest! {
    #[test]
    fn a_value_opens_where_it_was_sealed_and_in_no_other_place(
        here in bound(), there in bound(), value in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let key = Key::generate().unwrap();
        let sealed = seal(&key, &here.aad(), &value).unwrap();
        let opened = open(&key, &here.aad(), &sealed.0).unwrap();
        prop_assert_eq!(opened.expose(), value.as_slice());
        prop_assert_eq!(open(&key, &there.aad(), &sealed.0).is_ok(), here == there);
    }

    #[test]
    fn a_changed_byte_anywhere_does_not_open(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let key = Key::generate().unwrap();
        let mut sealed = seal(&key, b"place", b"a provider's key").unwrap().0;
        let at = at.index(sealed.len());
        sealed[at] ^= flip;
        prop_assert!(open(&key, b"place", &sealed).is_err());
    }
}

#[test]
fn two_rows_that_were_swapped_do_not_open() {
    let (one, other) = (Key::generate().unwrap(), Key::generate().unwrap());
    let first = seal(&one, b"first", b"value of the first").unwrap();
    let second = seal(&other, b"second", b"value of the second").unwrap();
    assert!(open(&one, b"first", &second.0).is_err());
    assert!(open(&other, b"second", &first.0).is_err());
    assert!(
        open(&one, b"second", &first.0).is_err(),
        "the key alone is not enough"
    );
}

#[test]
fn the_same_value_is_never_sealed_to_the_same_bytes() {
    let key = Key::generate().unwrap();
    let seal = || seal(&key, b"place", b"value").unwrap();
    assert_ne!(seal(), seal());
}

#[test]
fn what_is_too_short_to_be_sealed_is_refused() {
    let key = Key::generate().unwrap();
    for length in [0, 11, 12, 27] {
        assert_eq!(open(&key, b"", &vec![0; length]).err(), Some(Unopened));
    }
}

#[test]
fn a_wrapped_key_is_the_key_again() {
    let (by, key) = (Key::generate().unwrap(), Key::generate().unwrap());
    let wrapped = wrap(&by, b"place", &key).unwrap();
    assert_eq!(unwrap(&by, b"place", &wrapped.0).unwrap().expose(), key.expose());
    assert!(unwrap(&key, b"place", &wrapped.0).is_err());
}
