//! From key events to the keys that may be trusted, starting at one fingerprint.
//!
//! Pure: key events in, keys out. Trust comes from signatures alone. A key event counts when its payload names
//! its own key rightly, and when the key before it (for the first: the key itself, whose fingerprint must be
//! the root) signed the envelope. At the first key event that fails, trust ends: no later one is believed.

use std::collections::HashMap;

use crate::envelope::{self, Envelope, RecordedEvent};
use crate::ids::{EventHash, Fingerprint, KeyId, Position, TenantId};
use crate::keyring::{
    AGGREGATE, AGGREGATE_ID, SIGNING_KEY_INTRODUCED, SIGNING_KEY_INTRODUCED_VERSION, SigningKeyIntroduced,
};
use crate::signature::{Keyring, PublicKey, Signature};
use crate::verify::FindingKind;

/// The keys that a root fingerprint vouches for, and where the platform log introduced each.
#[derive(Clone, Debug)]
pub struct TrustedKeys {
    root: Fingerprint,
    ring: Keyring,
    introduced: HashMap<KeyId, Position>,
    /// Oldest first.
    order: Vec<(Position, KeyId)>,
    newest: Option<KeyId>,
}

/// Why a key event is not believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("key event at position {position}: {detail}")]
pub struct KeyEventProblem {
    /// Where it stands in the platform log.
    pub position: Position,
    /// What is wrong, as a finding.
    pub kind: FindingKind,
    /// The same in words.
    pub detail: String,
}

impl TrustedKeys {
    /// No keys yet; only the first key, by its fingerprint, will be believed on its own word.
    #[must_use]
    pub fn rooted_at(root: Fingerprint) -> Self {
        Self {
            root,
            ring: Keyring::default(),
            introduced: HashMap::new(),
            order: Vec::new(),
            newest: None,
        }
    }

    /// All keys of `events` (in position order), up to the first that is not to be believed.
    pub fn from_events<'a>(
        root: Fingerprint,
        events: impl IntoIterator<Item = &'a RecordedEvent>,
    ) -> (Self, Vec<KeyEventProblem>) {
        let mut keys = Self::rooted_at(root);
        let mut problems = Vec::new();
        for event in events {
            if envelope::hash(event.envelope.as_bytes()) != event.hash {
                problems.push(KeyEventProblem {
                    position: event.position,
                    kind: FindingKind::HashMismatch,
                    detail: "the hash beside the envelope is not the envelope's".to_owned(),
                });
            }
            if let Err(problem) = keys.introduce(event) {
                problems.push(problem);
                break;
            }
        }
        (keys, problems)
    }

    /// Takes the next key event.
    ///
    /// # Errors
    /// When it is not to be believed; the keys stay as they were.
    pub fn introduce(&mut self, event: &RecordedEvent) -> Result<KeyId, KeyEventProblem> {
        self.believe(event).map_err(|(kind, detail)| KeyEventProblem {
            position: event.position,
            kind,
            detail,
        })
    }

    fn believe(&mut self, event: &RecordedEvent) -> Result<KeyId, (FindingKind, String)> {
        let malformed = |detail: String| (FindingKind::Malformed, detail);
        let envelope = event.parse().map_err(|error| malformed(error.to_string()))?;
        let (payload, key) = read_key(&envelope).map_err(malformed)?;
        let signer = self.signer_for(&payload, &key)?;
        if event.key_id != signer.id() {
            return Err((
                FindingKind::UnknownKey,
                format!(
                    "signed by key {}, where {} had to sign",
                    event.key_id,
                    signer.id()
                ),
            ));
        }
        let hash = envelope::hash(event.envelope.as_bytes());
        if !signer.verifies(&hash, &event.signature) {
            return Err((
                FindingKind::SignatureInvalid,
                format!("the signature is not that of key {}", signer.id()),
            ));
        }
        let id = self.ring.add(key).map_err(|error| malformed(error.to_string()))?;
        self.introduced.entry(id).or_insert(envelope.position);
        self.order.push((envelope.position, id));
        self.newest = Some(id);
        Ok(id)
    }

    /// Which key has to have signed the introduction of `key`.
    fn signer_for(
        &self,
        payload: &SigningKeyIntroduced,
        key: &PublicKey,
    ) -> Result<PublicKey, (FindingKind, String)> {
        if payload.previous_key_id != self.newest {
            let name = |id: Option<KeyId>| id.map_or_else(|| "no key".to_owned(), |id| id.to_string());
            return Err((
                FindingKind::UnknownKey,
                format!(
                    "it follows {}, but the key before it is {}",
                    name(payload.previous_key_id),
                    name(self.newest)
                ),
            ));
        }
        match self.newest.and_then(|id| self.ring.get(id)) {
            Some(previous) => Ok(*previous),
            None if key.fingerprint() == self.root => Ok(*key),
            None => Err((
                FindingKind::UnknownKey,
                format!(
                    "the first key is {}, not the {} that was given",
                    key.fingerprint(),
                    self.root
                ),
            )),
        }
    }

    /// The fingerprint that all trust comes from.
    #[must_use]
    pub fn root(&self) -> Fingerprint {
        self.root
    }

    /// The key with this short name.
    #[must_use]
    pub fn get(&self, id: KeyId) -> Option<&PublicKey> {
        self.ring.get(id)
    }

    /// Whether `signature` is that key's over the event with this hash; none if it is not vouched for.
    #[must_use]
    pub fn verifies(&self, id: KeyId, hash: &EventHash, signature: &Signature) -> Option<bool> {
        self.ring.verifies(id, hash, signature)
    }

    /// Where the platform log introduced it.
    #[must_use]
    pub fn introduced_at(&self, id: KeyId) -> Option<Position> {
        self.introduced.get(&id).copied()
    }

    /// The key that has to sign position `at` of the platform log: the last one introduced before it. None for the
    /// first key's own event.
    #[must_use]
    pub fn signing_at(&self, at: Position) -> Option<KeyId> {
        let before = self.order.iter().rev().find(|(introduced, _)| *introduced < at);
        before.map(|(_, id)| *id)
    }

    /// The key that was introduced last.
    #[must_use]
    pub fn newest(&self) -> Option<KeyId> {
        self.newest
    }

    /// The plain keyring.
    #[must_use]
    pub fn ring(&self) -> &Keyring {
        &self.ring
    }
}

/// The payload and the key of a key event that is well formed in itself.
fn read_key(envelope: &Envelope<'_>) -> Result<(SigningKeyIntroduced, PublicKey), String> {
    let named = (
        envelope.tenant,
        envelope.aggregate.as_ref(),
        envelope.aggregate_id.as_ref(),
        envelope.event_type.as_ref(),
        envelope.version.as_ref(),
    );
    let expected = (
        TenantId::PLATFORM,
        AGGREGATE,
        AGGREGATE_ID,
        SIGNING_KEY_INTRODUCED,
        SIGNING_KEY_INTRODUCED_VERSION,
    );
    if named != expected {
        return Err(format!(
            "{} {} is not a key event of the platform log",
            named.3, named.4
        ));
    }
    let payload: SigningKeyIntroduced =
        serde_json::from_str(envelope.payload.get()).map_err(|error| error.to_string())?;
    let key = payload.public_key;
    if payload.fingerprint == key.fingerprint() && payload.key_id == key.id() {
        Ok((payload, key))
    } else {
        Err(format!("it names key {} as {}", key.id(), payload.key_id))
    }
}
