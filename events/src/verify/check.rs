//! What can be said of one entry alone: hash, signature, form, columns. Needs no order, so it runs in parallel.
//!
//! An event is *believed* when its signature holds for the computed hash; where that cannot be asked (unknown
//! key, or signatures are not checked), when the hash beside it is the computed one. What an event says that
//! is not believed counts for nothing: it only takes up its place.

use crate::document::DocumentRef;
use crate::envelope::{self, Envelope};
use crate::ids::{EventHash, Position, Sequence, TenantId};
use crate::keyring::TrustedKeys;
use crate::timestamp::Timestamp;
use crate::verify::entry::{Entry, StoredEvent};
use crate::verify::finding::FindingKind;
use crate::verify::references::documents_of;

/// One thing wrong with one entry.
pub(super) type Problem = (FindingKind, String);

/// What is known of an entry before its neighbours are looked at.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Where it stands, if that can be said.
    pub position: Option<Position>,
    /// What is wrong with it alone.
    pub problems: Vec<Problem>,
    /// What it says, if it is believed and well formed.
    pub facts: Option<Facts>,
}

/// What a believed envelope says that its neighbours and documents must agree with.
#[derive(Debug)]
pub(super) struct Facts {
    pub hash: EventHash,
    pub prev: EventHash,
    pub recorded_at: Timestamp,
    /// Where the platform log introduces the key that signed it; none if no signature was checked.
    pub key_introduced: Option<Position>,
    /// `aggregate/id`, for the reader.
    pub aggregate: String,
    /// The same as a key of fixed size, for the map.
    pub aggregate_key: [u8; 16],
    pub sequence: Sequence,
    pub documents: Vec<DocumentRef>,
}

/// What every entry of a log is checked against.
pub(super) struct Rules<'a> {
    pub tenant: TenantId,
    pub keys: &'a TrustedKeys,
    pub signatures: bool,
}

impl Rules<'_> {
    pub fn check(&self, entry: &Entry) -> Checked {
        match entry {
            Entry::Event(event) => self.check_event(event),
            Entry::Unreadable {
                position,
                kind,
                detail,
            } => Checked {
                position: *position,
                problems: vec![(*kind, detail.clone())],
                facts: None,
            },
        }
    }

    fn check_event(&self, event: &StoredEvent) -> Checked {
        let hash = envelope::hash(event.envelope.as_bytes());
        let mut checked = Checked {
            position: event.position,
            ..Checked::default()
        };
        if !self.believes(event, &hash, &mut checked.problems) {
            return checked;
        }
        match Envelope::parse(&event.envelope) {
            Ok(envelope) => self.read(event, hash, &envelope, &mut checked),
            Err(error) => checked.problems.push((FindingKind::Malformed, error.to_string())),
        }
        checked
    }

    /// Whether the event is believed; what is wrong with hash and signature goes to `problems`.
    fn believes(&self, event: &StoredEvent, hash: &EventHash, problems: &mut Vec<Problem>) -> bool {
        let same_hash = *hash == event.hash;
        let verify = |hash| self.keys.verifies(event.key_id, hash, &event.signature);
        let signed = self.signatures.then(|| verify(hash)).flatten();
        if !same_hash {
            let whose = match signed {
                Some(true) => "; the signature holds for the envelope, so the hash was altered",
                Some(false) => "; the signature does not hold for the envelope, so the envelope was altered",
                None => "",
            };
            let detail = format!(
                "the envelope hashes to {hash}, beside it stands {}{whose}",
                event.hash
            );
            problems.push((FindingKind::HashMismatch, detail));
        }
        if self.signatures && signed.is_none() {
            let detail = format!(
                "no key {} is vouched for by root {}",
                event.key_id,
                self.keys.root()
            );
            problems.push((FindingKind::UnknownKey, detail));
        }
        // An altered envelope under its old hash is one finding, not two.
        if signed == Some(false) && (same_hash || verify(&event.hash) == Some(false)) {
            let detail = format!(
                "the signature is not that of key {} over this event",
                event.key_id
            );
            problems.push((FindingKind::SignatureInvalid, detail));
        }
        signed.unwrap_or(same_hash)
    }

    /// Takes over what a believed envelope says, if it is one of this log's.
    fn read(&self, event: &StoredEvent, hash: EventHash, envelope: &Envelope<'_>, checked: &mut Checked) {
        if envelope.tenant != self.tenant {
            let detail = format!(
                "the envelope is position {} of tenant {}",
                envelope.position, envelope.tenant
            );
            checked.problems.push((FindingKind::ForeignTenant, detail));
            return;
        }
        checked.problems.extend(self.disagreements(event, envelope));
        checked.position = checked.position.or(Some(envelope.position));
        let documents = match documents_of(envelope.payload.get()) {
            Ok(documents) => documents,
            Err(error) => {
                checked
                    .problems
                    .push((FindingKind::Malformed, format!("payload: {error}")));
                return;
            }
        };
        let aggregate = format!("{}/{}", envelope.aggregate, envelope.aggregate_id);
        let aggregate_key = aggregate_key(&aggregate);
        checked.facts = Some(Facts {
            hash,
            prev: envelope.prev,
            recorded_at: envelope.recorded_at,
            key_introduced: self.keys.introduced_at(event.key_id).filter(|_| self.signatures),
            aggregate,
            aggregate_key,
            sequence: envelope.sequence,
            documents,
        });
    }

    fn disagreements(&self, event: &StoredEvent, envelope: &Envelope<'_>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut columns = event
            .columns
            .as_ref()
            .map_or_else(Vec::new, |columns| columns.disagreeing(envelope));
        if event
            .position
            .is_some_and(|position| position != envelope.position)
        {
            columns.insert(0, "position");
        }
        if !columns.is_empty() {
            let detail = format!("not as in the envelope: {}", columns.join(", "));
            problems.push((FindingKind::ColumnsDisagree, detail));
        }
        problems.extend(self.key_out_of_turn(event, envelope.position));
        problems
    }

    /// In the platform log the order of events and of keys is one: each event has its one key.
    fn key_out_of_turn(&self, event: &StoredEvent, at: Position) -> Option<Problem> {
        let introduced = self
            .keys
            .introduced_at(event.key_id)
            .filter(|_| self.tenant.is_platform())?;
        if introduced > at {
            let detail = format!("key {} is introduced only at position {introduced}", event.key_id);
            return Some((FindingKind::KeyNotIntroduced, detail));
        }
        let in_turn = self.keys.signing_at(at).filter(|id| *id != event.key_id)?;
        let detail = format!("signed by key {}, which {in_turn} had followed", event.key_id);
        Some((FindingKind::KeySuperseded, detail))
    }
}

/// An aggregate's name in 16 bytes, so that the verifier's memory does not depend on the length of ids.
pub(super) fn aggregate_key(name: &str) -> [u8; 16] {
    let mut key = [0u8; 16];
    key.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..16]);
    key
}
