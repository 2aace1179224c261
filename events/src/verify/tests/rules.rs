//! Each rule of the verifier, with the log that breaks it and the one finding that says so.

use proptest::prelude::*;

use super::generate::{Installation, Log, New, introduce, moment, record, tenant};
use crate::document::Document;
use crate::envelope::RecordedEvent;
use crate::ids::{EventHash, Position, Sequence, TenantId};
use crate::keyring::TrustedKeys;
use crate::signature::{KeyPair, Signature, Signer};
use crate::verify::{
    Anchor, AnchorSource, Columns, Entry, FindingKind, LogVerifier, Loss, LossPart, Options, Report,
    SeenDocuments, StoredEvent, Unchecked,
};

fn kinds(report: &Report) -> Vec<(u64, FindingKind)> {
    assert!(
        report
            .findings
            .kept()
            .iter()
            .all(|finding| finding.tenant == report.tenant)
    );
    report
        .findings
        .kept()
        .iter()
        .map(|finding| (finding.position.0, finding.kind))
        .collect()
}

fn losses(report: &Report) -> Vec<Loss> {
    report
        .findings
        .kept()
        .iter()
        .filter_map(|finding| finding.loss)
        .collect()
}

/// A log of ten events with something done to it.
fn tampered(tamper: impl FnOnce(&mut Vec<RecordedEvent>)) -> Report {
    let installation = Installation::new(1);
    let mut log = installation.log(7, 10);
    tamper(&mut log.events);
    log.verify(&installation.trusted())
}

fn agent(payload: &str) -> New<'_> {
    New {
        aggregate: "agent",
        aggregate_id: "a0",
        event_type: "AgentChanged",
        payload: payload.to_owned(),
    }
}

#[test]
fn an_intact_log_yields_nothing() {
    let report = tampered(|_| {});
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.events, report.last), (10, Position(10)));
    assert_eq!(report.recorded_at, Some(moment(10)));
}

#[test]
fn an_altered_envelope_is_one_finding() {
    let report = tampered(|events| events[4].envelope = events[4].envelope.replace("r-1", "r-2"));
    assert_eq!(kinds(&report), [(5, FindingKind::HashMismatch)]);
    let detail = &report.findings.kept()[0].detail;
    assert!(detail.ends_with("so the envelope was altered"), "{detail}");
}

#[test]
fn an_altered_hash_is_told_from_an_altered_envelope() {
    let report = tampered(|events| events[4].hash.0[0] ^= 1);
    assert_eq!(kinds(&report), [(5, FindingKind::HashMismatch)]);
    let detail = &report.findings.kept()[0].detail;
    assert!(detail.ends_with("so the hash was altered"), "{detail}");
}

#[test]
fn an_altered_envelope_with_its_hash_recomputed_fails_its_signature() {
    let report = tampered(|events| {
        events[4].envelope = events[4].envelope.replace("r-1", "r-2");
        events[4].hash = crate::envelope::hash(events[4].envelope.as_bytes());
    });
    assert_eq!(kinds(&report), [(5, FindingKind::SignatureInvalid)]);
}

#[test]
fn an_event_signed_by_a_key_nobody_vouches_for_is_found() {
    let stranger = KeyPair::from_seed(&[99; 32]);
    let report = tampered(|events| events[4].key_id = stranger.public_key().id());
    assert_eq!(kinds(&report), [(5, FindingKind::UnknownKey)]);
    let report = tampered(|events| events[4].signature = stranger.sign(&events[4].hash));
    assert_eq!(kinds(&report), [(5, FindingKind::SignatureInvalid)]);
}

#[test]
fn the_chain_alone_shows_a_recomputed_hash_at_the_next_event() {
    let installation = Installation::new(1);
    let (mut log, keys) = (installation.log(7, 10), installation.trusted());
    log.events[4].envelope = log.events[4].envelope.replace("r-1", "r-2");
    log.events[4].hash = crate::envelope::hash(log.events[4].envelope.as_bytes());
    let options = Options {
        signatures: false,
        ..Options::default()
    };
    let mut verifier = LogVerifier::new(log.tenant, keys.clone(), options);
    verifier.verify_batch(&log.entries(), &Unchecked);
    assert_eq!(kinds(&verifier.finish()), [(6, FindingKind::ChainBroken)]);
}

#[test]
fn losses_are_named_prefix_middle_and_tail_with_their_counts() {
    let installation = Installation::new(1);
    let (mut log, keys) = (installation.log(7, 20), installation.trusted());
    let head = log.events[19].clone();
    log.events.truncate(16);
    log.events.drain(8..10);
    log.events.drain(..3);
    let mut verifier = LogVerifier::new(log.tenant, keys.clone(), Options::default());
    verifier.expect(Anchor {
        source: AnchorSource::HeadNote,
        position: head.position,
        hash: Some(head.hash),
    });
    verifier.verify_batch(&log.entries(), &log.seen_documents());
    let report = verifier.finish();
    assert_eq!(
        kinds(&report),
        [
            (1, FindingKind::Gap),
            (9, FindingKind::Gap),
            (17, FindingKind::MissingTail)
        ]
    );
    let parts = [(LossPart::Prefix, 3), (LossPart::Middle, 2), (LossPart::Tail, 4)];
    assert_eq!(losses(&report), parts.map(|(part, events)| Loss { part, events }));
}

#[test]
fn swapped_and_repeated_events_are_found() {
    let report = tampered(|events| events.swap(4, 5));
    assert_eq!(
        kinds(&report),
        [(5, FindingKind::Gap), (5, FindingKind::Duplicate)]
    );
    let report = tampered(|events| events.insert(5, events[4].clone()));
    assert_eq!(kinds(&report), [(5, FindingKind::Duplicate)]);
}

#[test]
fn an_event_of_another_tenant_is_found_added_or_in_place_of_ours() {
    let installation = Installation::new(1);
    let (keys, other) = (installation.trusted(), installation.log(8, 10));
    let foreign = |log: &Log, index: usize, replaces: usize| {
        let mut entries = log.entries();
        let Entry::Event(mut event) = Entry::from(other.events[4].clone()) else {
            unreachable!("made from an event")
        };
        event.position = None;
        entries.splice(index..index + replaces, [Entry::Event(event)]);
        let mut verifier = LogVerifier::new(log.tenant, keys.clone(), Options::default());
        verifier.verify_batch(&entries, &log.seen_documents());
        verifier.finish()
    };
    let log = installation.log(7, 10);
    assert_eq!(kinds(&foreign(&log, 4, 1)), [(5, FindingKind::ForeignTenant)]);
    assert_eq!(kinds(&foreign(&log, 4, 0)), [(5, FindingKind::ForeignTenant)]);
    let two_for_one = foreign(&log, 4, 2);
    assert_eq!(
        kinds(&two_for_one),
        [(5, FindingKind::ForeignTenant), (5, FindingKind::Gap)]
    );
    assert_eq!(
        losses(&two_for_one),
        [Loss {
            part: LossPart::Middle,
            events: 1
        }]
    );
}

#[test]
fn an_event_linked_to_another_past_is_found() {
    let installation = Installation::new(1);
    let (mut log, keys) = (installation.log(7, 5), installation.trusted());
    log.events[4].hash = EventHash([9; 32]);
    log.append_any(installation.signer(), 1);
    log.events[4].hash = crate::envelope::hash(log.events[4].envelope.as_bytes());
    assert_eq!(kinds(&log.verify(&keys)), [(6, FindingKind::ChainBroken)]);
}

#[test]
fn time_that_decreases_and_sequences_that_jump_are_found() {
    let installation = Installation::new(1);
    let (mut log, keys, signer) = (Log::new(tenant(7)), installation.trusted(), installation.signer());
    log.append(signer, &agent("{}"));
    log.append_as(signer, &agent("{}"), Position(2), Sequence(3), moment(0));
    log.append_as(signer, &agent("{}"), Position(3), Sequence(4), moment(1));
    assert_eq!(
        kinds(&log.verify(&keys)),
        [(2, FindingKind::TimeDecreases), (2, FindingKind::SequenceGap)]
    );
}

#[test]
fn columns_that_disagree_are_named() {
    let installation = Installation::new(1);
    let (log, keys) = (installation.log(7, 3), installation.trusted());
    let mut entries = log.entries();
    let Entry::Event(event) = &mut entries[1] else {
        unreachable!("made from an event")
    };
    let envelope = log.events[1].parse().unwrap();
    event.columns = Some(Box::new(Columns {
        event_id: Some(envelope.event_id),
        sequence: Some(Sequence(17)),
        event_type: Some("AgentSuspended".to_owned()),
        ..Columns::default()
    }));
    let mut verifier = LogVerifier::new(log.tenant, keys.clone(), Options::default());
    verifier.verify_batch(&entries, &log.seen_documents());
    let report = verifier.finish();
    assert_eq!(kinds(&report), [(2, FindingKind::ColumnsDisagree)]);
    assert_eq!(
        report.findings.kept()[0].detail,
        "not as in the envelope: sequence, type"
    );
}

#[test]
fn documents_that_are_missing_or_other_than_named_are_found() {
    let installation = Installation::new(1);
    let (mut log, keys) = (Log::new(tenant(7)), installation.trusted());
    let document = Document::new("allow := true".to_owned()).unwrap();
    let reference = serde_json::to_string(&document.reference()).unwrap();
    log.append(
        installation.signer(),
        &agent(&format!(r#"{{"x":[{reference}]}}"#)),
    );
    let verify = |documents: &SeenDocuments| {
        let mut verifier = LogVerifier::new(log.tenant, keys.clone(), Options::default());
        let batch = verifier.check(&log.entries());
        assert_eq!(batch.documents(), [document.reference().digest]);
        verifier.accept(batch, documents);
        kinds(&verifier.finish())
    };
    let mut documents = SeenDocuments::default();
    assert_eq!(verify(&documents), [(1, FindingKind::MissingDocument)]);
    assert!(!documents.add(document.reference().digest, b"allow := 1 == 1"));
    assert_eq!(verify(&documents), [(1, FindingKind::DocumentMismatch)]);
    assert!(documents.add(document.reference().digest, document.body().as_bytes()));
    assert_eq!(verify(&documents), []);
}

#[test]
fn an_unreadable_entry_takes_up_its_place() {
    let installation = Installation::new(1);
    let (log, keys) = (installation.log(7, 5), installation.trusted());
    let mut entries = log.entries();
    entries[2] = Entry::Unreadable {
        position: None,
        kind: FindingKind::Malformed,
        detail: "not JSON".to_owned(),
    };
    let mut verifier = LogVerifier::new(log.tenant, keys.clone(), Options::default());
    verifier.verify_batch(&entries, &log.seen_documents());
    assert_eq!(kinds(&verifier.finish()), [(3, FindingKind::Malformed)]);
}

#[test]
fn an_envelope_of_a_later_format_is_malformed_to_this_build() {
    let report = tampered(|events| {
        let envelope = events[4].envelope.replacen(r#""v":1"#, r#""v":2"#, 1);
        let signer = KeyPair::from_seed(&[1; 32]);
        events[4] = record(events[4].tenant, events[4].position, envelope, &signer);
    });
    assert_eq!(kinds(&report), [(5, FindingKind::Malformed)]);
}

#[test]
fn heads_and_head_notes_that_contradict_the_log_or_each_other_are_found() {
    let installation = Installation::new(1);
    let (log, keys) = (installation.log(7, 10), installation.trusted());
    let verify = |anchors: &[(AnchorSource, u64, EventHash)]| {
        let mut verifier = LogVerifier::new(log.tenant, keys.clone(), Options::default());
        for (source, position, hash) in anchors {
            verifier.expect(Anchor {
                source: *source,
                position: Position(*position),
                hash: Some(*hash),
            });
        }
        verifier.verify_batch(&log.entries(), &log.seen_documents());
        kinds(&verifier.finish())
    };
    let (other, last) = (EventHash([9; 32]), log.events[9].hash);
    assert_eq!(
        verify(&[
            (AnchorSource::Head, 10, last),
            (AnchorSource::HeadNote, 5, log.events[4].hash)
        ]),
        []
    );
    assert_eq!(
        verify(&[(AnchorSource::HeadNote, 5, other)]),
        [(5, FindingKind::HeadNoteConflict)]
    );
    assert_eq!(
        verify(&[(AnchorSource::Head, 10, other)]),
        [(10, FindingKind::ChainBroken)]
    );
    assert_eq!(
        verify(&[(AnchorSource::Head, 8, log.events[7].hash)]),
        [(9, FindingKind::Ahead)]
    );
    assert_eq!(
        verify(&[
            (AnchorSource::HeadNote, 10, other),
            (AnchorSource::HeadNote, 10, last)
        ]),
        [(10, FindingKind::HeadNoteConflict); 2]
    );
}

#[test]
fn a_log_can_be_verified_from_its_middle() {
    let installation = Installation::new(1);
    let (log, keys) = (installation.log(7, 10), installation.trusted());
    let verify = |prev| {
        let mut verifier = LogVerifier::starting_at(
            log.tenant,
            keys.clone(),
            Options::default(),
            Position(6),
            Some(prev),
        );
        verifier.verify_batch(&log.entries()[5..], &log.seen_documents());
        kinds(&verifier.finish())
    };
    assert_eq!(verify(log.events[4].hash), []);
    assert_eq!(verify(EventHash::ZERO), [(6, FindingKind::ChainBroken)]);
}

#[test]
fn every_key_is_trusted_through_the_one_before_it() {
    let installation = Installation::new(3);
    let keys = installation.trusted();
    assert_eq!(keys.newest(), Some(installation.signer().public_key().id()));
    assert_eq!(keys.ring().len(), 3);
    assert_eq!(kinds(&installation.platform.verify(&keys)), []);
    assert_eq!(kinds(&installation.log(7, 10).verify(&keys)), []);

    let (keys, problems) = TrustedKeys::from_events(
        KeyPair::from_seed(&[99; 32]).public_key().fingerprint(),
        &installation.key_events(),
    );
    assert!(keys.ring().is_empty());
    assert_eq!(problems[0].kind, FindingKind::UnknownKey);
}

#[test]
fn a_key_that_introduces_itself_later_is_not_trusted() {
    let mut installation = Installation::new(1);
    let stranger = KeyPair::from_seed(&[99; 32]);
    let first = installation.signer().public_key().id();
    let mut forged = installation.platform.clone();
    introduce(&mut forged, &stranger, Some(first), &stranger);
    let (root, genuine) = (
        installation.root(),
        std::mem::replace(&mut installation.platform, forged),
    );
    let (keys, problems) = TrustedKeys::from_events(root, &installation.key_events());
    assert_eq!(
        (keys.ring().len(), problems[0].kind),
        (1, FindingKind::UnknownKey)
    );

    installation.platform = genuine;
    let mut mislabelled = installation.key_events();
    introduce(&mut installation.platform, &stranger, Some(first), &stranger);
    let mut event = installation.key_events()[1].clone();
    event.key_id = first;
    mislabelled.push(event);
    let (keys, problems) = TrustedKeys::from_events(root, &mislabelled);
    assert_eq!(
        (keys.ring().len(), problems[0].kind),
        (1, FindingKind::SignatureInvalid)
    );
}

#[test]
fn a_key_that_signs_before_its_introduction_is_found_on_the_platform_log() {
    let mut installation = Installation::new(1);
    let second = KeyPair::from_seed(&[2; 32]);
    installation.platform.append_any(&second, 1);
    let first = installation.signer().public_key().id();
    introduce(
        &mut installation.platform,
        &second,
        Some(first),
        &installation.keys[0],
    );
    installation.platform.append_any(&second, 1);
    let report = installation.platform.verify(&installation.trusted());
    assert_eq!(kinds(&report), [(3, FindingKind::KeyNotIntroduced)]);
}

#[test]
fn findings_are_counted_beyond_those_kept() {
    let installation = Installation::new(1);
    let keys = installation.trusted();
    let junk = Entry::Event(StoredEvent {
        position: None,
        envelope: String::new(),
        hash: EventHash::ZERO,
        key_id: installation.signer().public_key().id(),
        signature: Signature([0; 64]),
        columns: None,
    });
    let mut verifier = LogVerifier::new(TenantId::PLATFORM, keys.clone(), Options::default());
    verifier.verify_batch(&vec![junk; 1001], &Unchecked);
    let report = verifier.finish();
    assert_eq!(report.findings.kept().len(), 1000);
    assert_eq!(report.findings.counts()[&FindingKind::HashMismatch], 1001);
}

proptest! {
    #[test]
    fn numbers_that_somebody_made_up_stop_nothing(
        numbers in prop::collection::vec((prop::option::of(any::<u64>()), any::<u64>(), any::<u64>()), 1..20),
        start in any::<u64>(),
    ) {
        let installation = Installation::new(1);
        let mut log = Log::new(tenant(7));
        for (_, position, sequence) in &numbers {
            log.append_as(
                installation.signer(), &agent("{}"), Position(*position), Sequence(*sequence), moment(0));
        }
        let mut entries = log.entries();
        for (entry, (claim, ..)) in entries.iter_mut().zip(&numbers) {
            if let Entry::Event(event) = entry {
                event.position = claim.map(Position);
            }
        }
        let keys = installation.trusted();
        let mut verifier = LogVerifier::starting_at(log.tenant, keys.clone(), Options::default(), Position(start), None);
        verifier.expect(Anchor {
            source: AnchorSource::Head, position: Position(u64::MAX), hash: Some(EventHash::ZERO) });
        verifier.verify_batch(&entries, &Unchecked);
        let report = verifier.finish();
        prop_assert_eq!(report.events, numbers.len() as u64);
    }
}

#[test]
fn a_key_that_signs_after_its_successor_is_found_once_in_every_log() {
    let mut installation = Installation::new(2);
    let keys = installation.trusted();
    let (old, new) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    let mut log = Log::new(tenant(7));
    for key in [&old, &old, &new, &old, &old, &new] {
        log.append_any(key, 1);
    }
    assert_eq!(
        kinds(&log.verify(&keys)),
        [(4, FindingKind::KeySuperseded)],
        "from old to new is a rotation, and back again after an old one is no second finding"
    );

    // Positions 1 to 4: the first key and an event of its, the second key and an event of its.
    for key in [&old, &new, &old] {
        installation.platform.append_any(key, 1);
    }
    let found = kinds(&installation.platform.verify(&keys));
    assert_eq!(
        found,
        [(5, FindingKind::KeySuperseded), (7, FindingKind::KeySuperseded)]
    );
}
