//! What every KMS has to do; run against each implementation.
#![allow(clippy::unwrap_used)]

use super::{Kms, KmsError};
use crate::vault::key::Key;

/// The contract, but for what happens when it is away.
pub async fn keeps_the_contract(kms: &dyn Kms) {
    let key = Key::generate().unwrap();
    let wrapped = kms.wrap(&key, b"here").await.unwrap();
    let back = kms.unwrap_key(&wrapped, b"here").await.unwrap();
    assert_eq!(back.expose(), key.expose(), "the same key comes back");
    assert!(!wrapped.kek.is_empty(), "it says which version wrapped");

    let again = kms.wrap(&key, b"here").await.unwrap();
    assert_ne!(
        again.bytes, wrapped.bytes,
        "one key is never wrapped to the same bytes"
    );
    assert_eq!(again.kek, wrapped.kek);

    let elsewhere = kms.unwrap_key(&wrapped, b"there").await;
    assert!(
        matches!(elsewhere, Err(KmsError::Refused(_))),
        "bound to its place"
    );
    let mut changed = wrapped.clone();
    if let Some(last) = changed.bytes.last_mut() {
        *last ^= 1;
    }
    let changed = kms.unwrap_key(&changed, b"here").await;
    assert!(
        matches!(changed, Err(KmsError::Refused(_))),
        "not what it wrapped"
    );
    let mut nothing = wrapped;
    nothing.bytes.clear();
    let nothing = kms.unwrap_key(&nothing, b"here").await;
    assert!(matches!(nothing, Err(KmsError::Refused(_))), "nothing to unwrap");
}

/// A KMS that is away says so, and does not say no.
pub async fn is_unavailable(kms: &dyn Kms) {
    let key = Key::generate().unwrap();
    let outcome = kms.wrap(&key, b"here").await;
    assert!(matches!(outcome, Err(KmsError::Unavailable(_))), "{outcome:?}");
}
