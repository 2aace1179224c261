//! Head notes: one per position, never over a damaged head, and what shows that a tail was cut.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use counterfoil::audit::{AuditError, Scope, note_at_intervals};
use counterfoil_events::ids::{Position, TenantId};

use super::support::{append, audit, audit_with, found, head_notes, ledger, scope, tamper};
use crate::support::ledger::TestLedger;

/// Cuts the last three of twelve events and sets the head back, so that the log is whole again in itself.
const CUT: &str = "DELETE FROM counterfoil.events WHERE tenant_id = $tenant AND position > 9;
    UPDATE counterfoil.chain_heads h SET position = 9, hash = e.hash, recorded_at = e.recorded_at
    FROM counterfoil.events e WHERE h.tenant_id = $tenant AND e.tenant_id = $tenant AND e.position = 9";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_tail_shows_against_a_kept_note_and_against_one_kept_elsewhere() {
    let ledger = ledger(12).await;
    let elsewhere = head_notes(&ledger)
        .note(ledger.tenant)
        .await
        .unwrap()
        .as_str()
        .to_owned();
    tamper(&ledger, CUT).await;
    let expected = vec![(ledger.tenant, 10, "missing_tail".to_owned())];
    assert_eq!(audit(&ledger).await, expected, "the note in the database says so");

    tamper(&ledger, "DELETE FROM counterfoil.head_notes").await;
    assert_eq!(audit(&ledger).await, [], "the cut is perfect");
    let with_note = || Scope {
        head_notes: vec![elsewhere.clone()],
        ..scope(None)
    };
    assert_eq!(found(&audit_with(&ledger, with_note()).await), expected);

    // Going on from there is a fork.
    append(&ledger, ledger.tenant, 9..13).await;
    let expected = vec![(ledger.tenant, 12, "head_note_conflict".to_owned())];
    assert_eq!(found(&audit_with(&ledger, with_note()).await), expected);
}

#[tokio::test]
async fn a_note_for_a_position_before_the_first_one_read_is_held_against_what_the_ledger_has_there() {
    let ledger = ledger(5).await;
    let note = head_notes(&ledger).note(ledger.tenant).await.unwrap();
    append(&ledger, ledger.tenant, 5..12).await;
    let from_eight = || Scope {
        from: Position(8),
        head_notes: vec![note.as_str().to_owned()],
        ..scope(Some(ledger.tenant))
    };
    assert_eq!(found(&audit_with(&ledger, from_eight()).await), []);

    let other_hash = "UPDATE counterfoil.events SET hash = decode(repeat('ab', 32), 'hex') \
                      WHERE tenant_id = $tenant AND position = 5";
    tamper(&ledger, other_hash).await;
    let expected = (ledger.tenant, 5, "head_note_conflict".to_owned());
    assert_eq!(found(&audit_with(&ledger, from_eight()).await), [expected]);

    let gone = "DELETE FROM counterfoil.events WHERE tenant_id = $tenant AND position = 5";
    tamper(&ledger, gone).await;
    let expected = (ledger.tenant, 5, "gap".to_owned());
    assert_eq!(found(&audit_with(&ledger, from_eight()).await), [expected]);
}

#[tokio::test]
async fn a_position_has_one_note_and_a_moved_log_gets_a_new_one() {
    let ledger = ledger(3).await;
    let notes = head_notes(&ledger);
    let first = notes.note(ledger.tenant).await.unwrap();
    assert_eq!(notes.note(ledger.tenant).await.unwrap(), first);
    // The platform's log has moved too.
    assert_eq!(notes.note_moved().await.unwrap().len(), 1);
    assert_eq!(notes.note_moved().await.unwrap(), []);
    append(&ledger, ledger.tenant, 3..4).await;
    let moved = notes.note_moved().await.unwrap();
    assert_eq!((moved.len(), moved[0].head().position), (1, Position(4)));
    assert_eq!(
        notes.latest(ledger.tenant).await.unwrap().as_deref(),
        Some(moved[0].as_str())
    );
}

#[tokio::test]
async fn no_note_is_signed_over_a_damaged_head_a_fork_or_nothing() {
    let ledger = ledger(12).await;
    let notes = head_notes(&ledger);
    let nobody = notes.note(TenantId::generate()).await.unwrap_err();
    assert!(matches!(nobody, AuditError::NoTenant(_)));
    let empty = TenantId::generate();
    ledger.create_tenant(empty).await;
    assert!(matches!(
        notes.note(empty).await.unwrap_err(),
        AuditError::Empty(_)
    ));

    notes.note(ledger.tenant).await.unwrap();
    tamper(&ledger, CUT).await;
    let forked = TestLedger::another_sequencer(&ledger);
    for step in 9..12u64 {
        let (id, expected) = match step % 3 {
            2 => ("second", step / 3),
            _ => ("first", step - step.div_ceil(3) + u64::from(step % 3 == 1)),
        };
        let request = crate::support::ledger::request(ledger.tenant, "thing", id, expected);
        forked.append(request).await.unwrap();
    }
    let conflict = notes.note(ledger.tenant).await.unwrap_err();
    assert!(
        matches!(
            conflict,
            AuditError::Forked {
                position: Position(12),
                ..
            }
        ),
        "{conflict}"
    );

    tamper(&ledger, "UPDATE counterfoil.events SET envelope = replace(envelope, '\"x\"', '\"y\"') WHERE tenant_id = $tenant AND position = 12").await;
    let damaged = notes.note(ledger.tenant).await.unwrap_err();
    assert!(
        matches!(
            damaged,
            AuditError::DamagedHead {
                position: Position(12),
                ..
            }
        ),
        "{damaged}"
    );
}

#[tokio::test]
async fn an_altered_note_is_found() {
    let ledger = ledger(3).await;
    head_notes(&ledger).note(ledger.tenant).await.unwrap();
    tamper(
        &ledger,
        "UPDATE counterfoil.head_notes SET noted_at = noted_at + interval '1 day'",
    )
    .await;
    assert_eq!(
        audit(&ledger).await,
        [(ledger.tenant, 3, "columns_disagree".to_owned())]
    );
    tamper(
        &ledger,
        "UPDATE counterfoil.head_notes SET note = replace(note, E'\\n3\\n', E'\\n2\\n')",
    )
    .await;
    assert_eq!(
        audit(&ledger).await,
        [(ledger.tenant, 3, "signature_invalid".to_owned())]
    );
    tamper(&ledger, "UPDATE counterfoil.head_notes SET note = 'nothing'").await;
    assert_eq!(audit(&ledger).await, [(ledger.tenant, 3, "malformed".to_owned())]);
}

#[tokio::test]
async fn notes_are_made_at_an_interval_until_stopped() {
    let ledger = ledger(3).await;
    let notes = head_notes(&ledger);
    let running = note_at_intervals(notes.clone(), None, Duration::from_millis(20));
    while notes.latest(ledger.tenant).await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.stop().await;
    append(&ledger, ledger.tenant, 3..4).await;
    assert_eq!(
        notes.note_moved().await.unwrap().len(),
        1,
        "nobody else has made it"
    );
}
