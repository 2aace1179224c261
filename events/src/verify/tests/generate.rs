//! Logs as the sequencer would write them, for tests that need no database.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::actor::Actor;
use crate::document::Document;
use crate::envelope::{self, EnvelopeFields, FORMAT_VERSION, RecordedEvent};
use crate::export::{ExportWriter, ReadError};
use crate::head_note::{Head, HeadNote};
use crate::ids::{EventHash, EventId, Fingerprint, Position, Sequence, TenantId};
use crate::keyring::{self, SigningKeyIntroduced, TrustedKeys};
use crate::signature::{KeyPair, Signer};
use crate::timestamp::Timestamp;
use crate::verify::{
    Entry, FileOptions, LogVerifier, Options, Report, SeenDocuments, documents_of, verify_export,
};

/// A log under construction.
#[derive(Clone)]
pub(crate) struct Log {
    pub tenant: TenantId,
    pub events: Vec<RecordedEvent>,
    pub documents: Vec<Document>,
    sequences: HashMap<(String, String), u64>,
}

/// What one event holds, when it is not the usual.
pub(crate) struct New<'a> {
    pub aggregate: &'a str,
    pub aggregate_id: &'a str,
    pub event_type: &'a str,
    pub payload: String,
}

impl Log {
    pub fn new(tenant: TenantId) -> Self {
        Self {
            tenant,
            events: Vec::new(),
            documents: Vec::new(),
            sequences: HashMap::new(),
        }
    }

    /// Appends an event rightly.
    pub fn append(&mut self, signer: &dyn Signer, new: &New<'_>) -> &RecordedEvent {
        let position = Position(self.events.len() as u64 + 1);
        let aggregate = (new.aggregate.to_owned(), new.aggregate_id.to_owned());
        let sequence = self.sequences.entry(aggregate).or_default();
        *sequence += 1;
        let sequence = Sequence(*sequence);
        self.append_as(signer, new, position, sequence, moment(position.0))
    }

    /// Appends an event with numbers of the caller's choice.
    pub fn append_as(
        &mut self,
        signer: &dyn Signer,
        new: &New<'_>,
        position: Position,
        sequence: Sequence,
        recorded_at: Timestamp,
    ) -> &RecordedEvent {
        let payload = RawValue::from_string(new.payload.clone()).unwrap();
        let mut id = *self.tenant.0.as_bytes();
        id[..8].copy_from_slice(&position.0.to_be_bytes());
        let envelope = EnvelopeFields {
            v: FORMAT_VERSION,
            tenant: self.tenant,
            position,
            event_id: EventId(uuid::Builder::from_random_bytes(id).into_uuid()),
            aggregate: new.aggregate,
            aggregate_id: new.aggregate_id,
            sequence,
            event_type: new.event_type,
            version: "1.0",
            recorded_at,
            actor: &Actor::bootstrap(),
            request_id: "r-1",
            traceparent: None,
            causation: None,
            prev: self.events.last().map_or(EventHash::ZERO, |event| event.hash),
            payload: &payload,
        };
        self.events.push(record(
            self.tenant,
            position,
            envelope.serialise().unwrap(),
            signer,
        ));
        self.events.last().unwrap()
    }

    /// Appends an event of one of three agents, some of which refer to a document.
    pub fn append_any(&mut self, signer: &dyn Signer, choice: u8) {
        let mut payload = format!(r#"{{"name":"agent \"{choice}\"","nested":{{"list":[1,null,"ü"]}}}}"#);
        if choice.is_multiple_of(4) {
            let document = Document::new(format!("package policy_{choice}\nallow := true\n")).unwrap();
            let reference = serde_json::to_string(&document.reference()).unwrap();
            payload = format!(r#"{{"source":{reference}}}"#);
            if !self.documents.contains(&document) {
                self.documents.push(document);
            }
        }
        let new = New {
            aggregate: "agent",
            aggregate_id: &format!("a{}", choice % 3),
            event_type: "AgentRegistered",
            payload,
        };
        self.append(signer, &new);
    }

    pub fn seen_documents(&self) -> SeenDocuments {
        let mut seen = SeenDocuments::default();
        for document in &self.documents {
            assert!(seen.add(document.reference().digest, document.body().as_bytes()));
        }
        seen
    }

    /// A head note for the end of the log as it is now.
    pub fn head_note(&self, signer: &dyn Signer) -> HeadNote {
        let last = self.events.last().unwrap();
        let head = Head {
            tenant: self.tenant,
            position: last.position,
            hash: last.hash,
            time: moment(last.position.0 + 1),
        };
        HeadNote::sign(head, signer)
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.events.iter().cloned().map(Entry::from).collect()
    }

    /// What the verifier says of it as it stands.
    pub fn verify(&self, keys: &Arc<TrustedKeys>) -> Report {
        let mut verifier = LogVerifier::new(self.tenant, Arc::clone(keys), Options::default());
        verifier.verify_batch(&self.entries(), &self.seen_documents());
        verifier.finish()
    }
}

/// Hashes and signs an envelope as it is.
pub(crate) fn record(
    tenant: TenantId,
    position: Position,
    envelope: String,
    signer: &dyn Signer,
) -> RecordedEvent {
    let hash = envelope::hash(envelope.as_bytes());
    RecordedEvent {
        tenant,
        position,
        envelope,
        hash,
        key_id: signer.public_key().id(),
        signature: signer.sign(&hash),
    }
}

/// So many seconds after a fixed moment.
pub(crate) fn moment(seconds: u64) -> Timestamp {
    let start = chrono::DateTime::from_timestamp(1_795_000_000, 0).unwrap();
    (start + chrono::TimeDelta::seconds(i64::try_from(seconds).unwrap())).into()
}

pub(crate) fn tenant(number: u8) -> TenantId {
    TenantId(uuid::Builder::from_random_bytes([number; 16]).into_uuid())
}

/// The signing keys of an installation and the platform log that introduces them.
pub(crate) struct Installation {
    pub keys: Vec<KeyPair>,
    pub platform: Log,
}

impl Installation {
    /// With so many keys, each introduced after an unrelated event.
    pub fn new(keys: u8) -> Self {
        let keys: Vec<_> = (1..=keys).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
        let mut platform = Log::new(TenantId::PLATFORM);
        for (index, key) in keys.iter().enumerate() {
            let previous = index.checked_sub(1).map(|before| &keys[before]);
            let signer = previous.unwrap_or(key);
            introduce(
                &mut platform,
                key,
                previous.map(|key| key.public_key().id()),
                signer,
            );
            platform.append_any(key, 1);
        }
        Self { keys, platform }
    }

    /// The key that signs now.
    pub fn signer(&self) -> &KeyPair {
        self.keys.last().unwrap()
    }

    pub fn root(&self) -> Fingerprint {
        self.keys[0].public_key().fingerprint()
    }

    pub fn key_events(&self) -> Vec<RecordedEvent> {
        let is_key_event = |event: &&RecordedEvent| event.parse().unwrap().aggregate == keyring::AGGREGATE;
        self.platform
            .events
            .iter()
            .filter(is_key_event)
            .cloned()
            .collect()
    }

    pub fn trusted(&self) -> Arc<TrustedKeys> {
        let (keys, problems) = TrustedKeys::from_events(self.root(), &self.key_events());
        assert_eq!(problems, []);
        Arc::new(keys)
    }

    /// A log of so many events by the newest key.
    pub fn log(&self, number: u8, events: u8) -> Log {
        let mut log = Log::new(tenant(number));
        for choice in 0..events {
            log.append_any(self.signer(), choice);
        }
        log
    }
}

impl Installation {
    /// The export file of a log from `from` on, as text.
    pub fn export(&self, log: &Log, from: u64) -> String {
        let first = usize::try_from(from - 1).unwrap();
        let prev = first
            .checked_sub(1)
            .map_or(EventHash::ZERO, |before| log.events[before].hash);
        let range = (Position(from), log.events.last().unwrap().position);
        let mut writer = ExportWriter::begin(
            Vec::new(),
            log.tenant,
            range,
            prev,
            self.root(),
            &self.key_events(),
        )
        .unwrap();
        for event in &log.events[first..] {
            for reference in documents_of(event.parse().unwrap().payload.get()).unwrap() {
                let document = log
                    .documents
                    .iter()
                    .find(|document| document.reference() == reference);
                writer.document(document.unwrap()).unwrap();
            }
            writer.event(event).unwrap();
        }
        let file = writer.finish(&log.head_note(self.signer())).unwrap();
        String::from_utf8(file).unwrap()
    }

    /// What the verifier says of an export file.
    pub fn verify_export(&self, file: &[u8], head_notes: &[String]) -> Result<Report, ReadError> {
        let mut options = FileOptions {
            root: self.root(),
            log: Options::default(),
            head_notes,
            progress: &mut |_, _| {},
        };
        verify_export(file, &mut options)
    }
}

/// Appends the introduction of `key`, signed by `signer`.
pub(crate) fn introduce(
    platform: &mut Log,
    key: &KeyPair,
    previous: Option<crate::ids::KeyId>,
    signer: &dyn Signer,
) {
    let payload = SigningKeyIntroduced::of(&key.public_key(), previous);
    let new = New {
        aggregate: keyring::AGGREGATE,
        aggregate_id: keyring::AGGREGATE_ID,
        event_type: keyring::SIGNING_KEY_INTRODUCED,
        payload: serde_json::to_string(&payload).unwrap(),
    };
    platform.append(signer, &new);
}
