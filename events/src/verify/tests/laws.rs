//! Laws: an intact log yields nothing; any single alteration is found, with the position where it was made.

use proptest::prelude::*;

use super::generate::{Installation, Log};
use crate::envelope::RecordedEvent;
use crate::ids::{KeyId, Position};
use crate::signature::{KeyPair, Signer};
use crate::verify::{Anchor, AnchorSource, LogVerifier, Options, Report};

/// One thing an insider may do to a log that is kept somewhere.
#[derive(Clone, Debug)]
enum Tampering {
    FlipEnvelope { byte: usize, bit: u8 },
    FlipHash { byte: usize, bit: u8 },
    FlipSignature { byte: usize, bit: u8 },
    FlipKeyId { byte: usize, bit: u8 },
    FlipPosition { bit: u8 },
    Delete,
    CutTail,
    SwapWithNext,
    Duplicate,
    ReplayForeign,
    ResignWithAnotherKey { claims_ours: bool },
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let flip = || (any::<usize>(), 0..8u8);
    prop_oneof![
        4 => flip().prop_map(|(byte, bit)| Tampering::FlipEnvelope { byte, bit }),
        1 => flip().prop_map(|(byte, bit)| Tampering::FlipHash { byte, bit }),
        1 => flip().prop_map(|(byte, bit)| Tampering::FlipSignature { byte, bit }),
        1 => flip().prop_map(|(byte, bit)| Tampering::FlipKeyId { byte, bit }),
        1 => (0..64u8).prop_map(|bit| Tampering::FlipPosition { bit }),
        1 => Just(Tampering::Delete),
        1 => Just(Tampering::CutTail),
        1 => Just(Tampering::SwapWithNext),
        1 => Just(Tampering::Duplicate),
        1 => Just(Tampering::ReplayForeign),
        1 => any::<bool>().prop_map(|claims_ours| Tampering::ResignWithAnotherKey { claims_ours }),
    ]
}

impl Tampering {
    /// Does it to the event at `index`; `other` is another tenant's log.
    fn apply(&self, events: &mut Vec<RecordedEvent>, index: usize, other: &Log) {
        let flip = |bytes: &mut [u8], byte: usize, bit: u8| bytes[byte % bytes.len()] ^= 1 << bit;
        let event = &mut events[index];
        match *self {
            Self::FlipEnvelope { byte, bit } => {
                let mut bytes = event.envelope.clone().into_bytes();
                flip(&mut bytes, byte, bit & 3);
                // A store of text holds only text: what is no longer UTF-8 comes out as something else still.
                event.envelope = String::from_utf8_lossy(&bytes).into_owned();
            }
            Self::FlipHash { byte, bit } => flip(&mut event.hash.0, byte, bit),
            Self::FlipSignature { byte, bit } => flip(&mut event.signature.0, byte, bit),
            Self::FlipKeyId { byte, bit } => {
                let KeyId(bytes) = &mut event.key_id;
                flip(bytes, byte, bit);
            }
            Self::FlipPosition { bit } => event.position = Position(event.position.0 ^ (1 << bit)),
            Self::Delete => drop(events.remove(index)),
            Self::CutTail => events.truncate(index),
            Self::SwapWithNext => {
                let next = (index + 1) % events.len();
                events.swap(index, next);
            }
            Self::Duplicate => events.insert(index, events[index].clone()),
            Self::ReplayForeign => *event = other.events[index % other.events.len()].clone(),
            Self::ResignWithAnotherKey { claims_ours } => {
                let stranger = KeyPair::from_seed(&[99; 32]);
                event.signature = stranger.sign(&event.hash);
                if !claims_ours {
                    event.key_id = stranger.public_key().id();
                }
            }
        }
    }
}

/// Verifies in batches of `batch`, against a head note of the log as it was.
fn verify(intact: &Log, tampered: &Log, installation: &Installation, batch: usize) -> Report {
    let keys = installation.trusted();
    let mut verifier = LogVerifier::new(intact.tenant, keys.clone(), Options::default());
    let note = intact.head_note(installation.signer());
    let note = crate::head_note::HeadNote::open(note.as_str(), keys.ring()).unwrap();
    verifier.expect(Anchor {
        source: AnchorSource::HeadNote,
        position: note.head().position,
        hash: Some(note.head().hash),
    });
    let documents = intact.seen_documents();
    for entries in tampered.entries().chunks(batch) {
        verifier.verify_batch(entries, &documents);
    }
    verifier.finish()
}

proptest! {
    #[test]
    fn an_intact_log_yields_nothing_whatever_its_batches(
        keys in 1..4u8, events in 1..40u8, batch in 1..50usize,
    ) {
        let installation = Installation::new(keys);
        let log = installation.log(7, events);
        let report = verify(&log, &log, &installation, batch);
        prop_assert!(report.findings.is_empty(), "{:?}", report.findings);
        prop_assert_eq!(report.hash, log.events.last().map(|event| event.hash));
    }

    #[test]
    fn any_alteration_is_found_where_it_was_made(
        tampering in tampering(), events in 2..30u8, index in any::<prop::sample::Index>(), batch in 1..40usize,
    ) {
        let installation = Installation::new(2);
        let (log, other) = (installation.log(7, events), installation.log(8, 30));
        let index = index.index(log.events.len());
        let mut tampered = log.clone();
        tampering.apply(&mut tampered.events, index, &other);

        let report = verify(&log, &tampered, &installation, batch);
        // Swapping the last with the first is seen first where the first should be.
        let at = match tampering {
            Tampering::SwapWithNext if index + 1 == log.events.len() => 1,
            _ => index as u64 + 1,
        };
        let found = report.findings.kept();
        prop_assert!(
            found.iter().any(|finding| finding.tenant == log.tenant && finding.position == Position(at)),
            "{:?} at {}: {:?}", tampering, at, found
        );
    }
}
