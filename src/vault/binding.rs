//! What a ciphertext is bound to: its additional authenticated data (AAD).
//!
//! The AAD is a list of parts, each behind its length in four bytes, big-endian, and the first of them names the layer.
//! So no two different places have the same AAD, whatever their names are, and a ciphertext that was moved to another
//! place (another secret, version, tenant, organisation, purpose, key or layer) does not open there.

use counterfoil_events::ids::{OrganisationId, TenantId};
use uuid::Uuid;

const SECRET: &str = "counterfoil vault secret v1";
const DATA_KEY: &str = "counterfoil vault data key v1";
const SIGNING_SEED: &str = "counterfoil vault signing seed v1";
const SIGNING_DATA_KEY: &str = "counterfoil vault signing data key v1";
/// What the signing key's data key is for; no secret has this purpose.
const SIGNING: &str = "signing";
const ORGANISATION_KEY: &str = "counterfoil vault organisation key v1";

/// The place of one version of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretPlace<'p> {
    /// Whose key seals it.
    pub organisation: OrganisationId,
    /// In whose log the secret is.
    pub tenant: TenantId,
    /// Its name.
    pub secret: &'p str,
    /// Which version, from 1.
    pub version: u32,
    /// What it may be used for.
    pub purpose: &'p str,
}

impl SecretPlace<'_> {
    /// The AAD of the value: with the data key that seals it.
    #[must_use]
    pub fn of_value(&self, data_key: Uuid) -> Vec<u8> {
        self.parts(SECRET, data_key.as_bytes(), &[])
    }

    /// The AAD of the data key: with the organisation's key that wraps it.
    #[must_use]
    pub fn of_data_key(&self, data_key: Uuid, organisation_key: u32) -> Vec<u8> {
        self.parts(DATA_KEY, data_key.as_bytes(), &organisation_key.to_be_bytes())
    }

    fn parts(&self, layer: &str, data_key: &[u8], wrapped_by: &[u8]) -> Vec<u8> {
        join(&[
            layer.as_bytes(),
            self.organisation.0.as_bytes(),
            self.tenant.0.as_bytes(),
            self.secret.as_bytes(),
            &self.version.to_be_bytes(),
            self.purpose.as_bytes(),
            data_key,
            wrapped_by,
        ])
    }
}

/// The AAD of an organisation's key, as the KMS is given it.
#[must_use]
pub fn of_organisation_key(organisation: OrganisationId, number: u32) -> Vec<u8> {
    join(&[
        ORGANISATION_KEY.as_bytes(),
        organisation.0.as_bytes(),
        &number.to_be_bytes(),
    ])
}

/// The AAD of the signing key's seed: with the public key that it belongs to, and the data key that seals it.
#[must_use]
pub fn of_signing_seed(public_key: &[u8; 32], data_key: Uuid) -> Vec<u8> {
    of_signing(SIGNING_SEED, public_key, data_key)
}

/// The AAD of the data key that seals the signing key's seed, as the KMS is given it.
#[must_use]
pub fn of_signing_data_key(public_key: &[u8; 32], data_key: Uuid) -> Vec<u8> {
    of_signing(SIGNING_DATA_KEY, public_key, data_key)
}

fn of_signing(layer: &str, public_key: &[u8; 32], data_key: Uuid) -> Vec<u8> {
    join(&[
        layer.as_bytes(),
        SIGNING.as_bytes(),
        public_key,
        data_key.as_bytes(),
    ])
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        // Names are far below four gigabytes: they are checked where they come in.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        joined.extend_from_slice(&length.to_be_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::join;

    proptest! {
        #[test]
        fn different_lists_of_parts_are_bound_differently(
            one in prop::collection::vec(prop::collection::vec(0u8..3, 0..4), 0..5),
            other in prop::collection::vec(prop::collection::vec(0u8..3, 0..4), 0..5),
        ) {
            let joined = |parts: &[Vec<u8>]| join(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(one == other, joined(&one) == joined(&other));
        }
    }
}
