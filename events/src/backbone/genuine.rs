//! Whether a message in a stream is an event that a holder of a signing key made, or a forgery.
//!
//! Whoever may publish can write any header. Before a message is taken for a sign that Postgres lost or changed events,
//! its body has to have the hash of its header, the signature of a key that the platform's log introduces, and the
//! tenant and position that it was published under. A database that was restored may lack the newest keys: those come
//! from the platform's messages, each signed by the key before it.

use crate::backbone::message::MessageError;
use crate::backbone::{Backbone, BackboneError, StreamScan};
use crate::envelope::{self, RecordedEvent};
use crate::ids::{Fingerprint, Sequence, TenantId};
use crate::keyring::{self, SigningKeyIntroduced, TrustedKeys};
use crate::ledger::LogReader;

/// Tells events from forgeries.
pub(super) struct Judge {
    /// None when the ledger introduces no key: then nothing can be told, and every message counts as genuine.
    keys: Option<TrustedKeys>,
    /// Whether the keys that only the platform's messages introduce are among them.
    has_all: bool,
}

impl Judge {
    /// With the keys that the ledger introduces.
    pub(super) async fn new(log: &LogReader) -> Result<Self, sqlx::Error> {
        let (aggregate, id) = (keyring::AGGREGATE, keyring::AGGREGATE_ID);
        let kept = log
            .aggregate(TenantId::PLATFORM, aggregate, id, Sequence::default())
            .await?;
        let events: Vec<RecordedEvent> = kept.into_iter().map(|event| event.recorded).collect();
        let root = events.first().and_then(named_fingerprint);
        Ok(Self {
            keys: root.map(|root| TrustedKeys::from_events(root, &events).0),
            has_all: false,
        })
    }

    /// Whether a message is an event of ours.
    ///
    /// # Errors
    /// When the platform's messages have to be asked for keys, and NATS does not answer.
    pub(super) async fn is_genuine(
        &mut self,
        backbone: &Backbone,
        message: &Result<RecordedEvent, MessageError>,
    ) -> Result<bool, BackboneError> {
        let Ok(event) = message else { return Ok(false) };
        let Some(keys) = &mut self.keys else {
            return Ok(true);
        };
        if keys.get(event.key_id).is_none() && !self.has_all {
            take_keys_of_stream(backbone, keys).await?;
            self.has_all = true;
        }
        Ok(is_signed(event, keys) && is_where_it_says(event))
    }
}

/// Of the first key: the ledger's own word is taken, as everywhere but in an audit.
fn named_fingerprint(event: &RecordedEvent) -> Option<Fingerprint> {
    let envelope = event.parse().ok()?;
    let payload: SigningKeyIntroduced = serde_json::from_str(envelope.payload.get()).ok()?;
    Some(payload.fingerprint)
}

fn is_signed(event: &RecordedEvent, keys: &TrustedKeys) -> bool {
    let hash = envelope::hash(event.envelope.as_bytes());
    hash == event.hash && keys.verifies(event.key_id, &hash, &event.signature) == Some(true)
}

fn is_where_it_says(event: &RecordedEvent) -> bool {
    let place = event.parse().map(|envelope| (envelope.tenant, envelope.position));
    place.is_ok_and(|place| place == (event.tenant, event.position))
}

/// Takes the keys that follow, as far as each is signed by the one before it; what is no such event is passed over.
async fn take_keys_of_stream(backbone: &Backbone, keys: &mut TrustedKeys) -> Result<(), BackboneError> {
    if backbone.find_stream(PLATFORM_PARTITION).await?.is_none() {
        return Ok(());
    }
    let mut scan = StreamScan::open(backbone, PLATFORM_PARTITION, Some(TenantId::PLATFORM)).await?;
    loop {
        let page = scan.next_page().await?;
        if page.is_empty() {
            return Ok(());
        }
        for event in page.iter().filter_map(|message| message.event.as_ref().ok()) {
            let is_key = event
                .parse()
                .is_ok_and(|envelope| envelope.aggregate == keyring::AGGREGATE);
            if is_key && is_where_it_says(event) {
                // One that does not follow the newest key is known already, or forged.
                let _ = keys.introduce(event);
            }
        }
    }
}

/// The platform's log is in the first one.
const PLATFORM_PARTITION: u32 = 0;
