//! The verifier over Postgres: an intact log yields nothing, also while it grows; each tampering is found.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use counterfoil::audit::{Keys, Scope};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::signature::{KeyPair, Signer};
use counterfoil_events::verify::{LossPart, Options};

use super::support::{append, audit, audit_with, found, head_notes, ledger, scope, tamper};
use crate::support::ledger::TestLedger;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intact_log_yields_nothing() {
    let ledger = ledger(12).await;
    head_notes(&ledger).note_moved().await.unwrap();
    let summary = audit_with(&ledger, scope(None)).await;
    assert_eq!(found(&summary), []);
    let report = summary.log(ledger.tenant).unwrap();
    assert_eq!((report.events, report.last), (12, Position(12)));
    // The platform's: the key, and the tenant.
    assert_eq!(summary.log(TenantId::PLATFORM).unwrap().events, 2);
    let from = Scope {
        from: Position(7),
        ..scope(Some(ledger.tenant))
    };
    let summary = audit_with(&ledger, from).await;
    assert_eq!((found(&summary), summary.events), (vec![], 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_while_it_is_read_yields_nothing() {
    let ledger = ledger(12).await;
    let notes = head_notes(&ledger);
    let writer = async {
        for step in 12..60 {
            append(&ledger, ledger.tenant, step..step + 1).await;
            notes.note_moved().await.unwrap();
        }
    };
    let auditor = async {
        for _ in 0..15 {
            assert_eq!(audit(&ledger).await, []);
        }
    };
    tokio::join!(writer, auditor);
    assert_eq!(audit(&ledger).await, []);
}

/// What it is, the statement that does it, and what has to be found at which positions.
type Tampering = (&'static str, &'static str, &'static [(u64, &'static str)]);

/// Things done to the table of a log of twelve events.
const TAMPERINGS: &[Tampering] = &[
    (
        "a byte of an envelope",
        "UPDATE counterfoil.events SET envelope = replace(envelope, '\"note\":\"x\"', '\"note\":\"y\"')
         WHERE tenant_id = $tenant AND position = 5",
        &[(5, "hash_mismatch")],
    ),
    (
        "an envelope with its hash made new",
        "UPDATE counterfoil.events SET hash = sha256('x') WHERE tenant_id = $tenant AND position = 5",
        &[(5, "hash_mismatch")],
    ),
    (
        "a signature",
        "UPDATE counterfoil.events SET signature = set_byte(signature, 9, get_byte(signature, 9) # 1)
         WHERE tenant_id = $tenant AND position = 5",
        &[(5, "signature_invalid")],
    ),
    (
        "another key's name",
        "UPDATE counterfoil.events SET key_id = '\\x0102030405060708' WHERE tenant_id = $tenant AND position = 5",
        &[(5, "unknown_key")],
    ),
    (
        "a hash of the wrong length",
        "ALTER TABLE counterfoil.events DROP CONSTRAINT events_hash_check;
         UPDATE counterfoil.events SET hash = '\\x01' WHERE tenant_id = $tenant AND position = 5",
        &[(5, "malformed")],
    ),
    (
        "an index column",
        "UPDATE counterfoil.events SET type = 'Forged' WHERE tenant_id = $tenant AND position = 5",
        &[(5, "columns_disagree")],
    ),
    (
        "recorded_at",
        "UPDATE counterfoil.events SET recorded_at = recorded_at - interval '1 hour'
         WHERE tenant_id = $tenant AND position = 5",
        &[(5, "columns_disagree")],
    ),
    (
        "a deletion at the start",
        "DELETE FROM counterfoil.events WHERE tenant_id = $tenant AND position <= 2",
        &[(1, "gap")],
    ),
    (
        "a deletion in the middle",
        "DELETE FROM counterfoil.events WHERE tenant_id = $tenant AND position IN (5, 6)",
        &[(5, "gap")],
    ),
    (
        "a deletion at the end",
        "DELETE FROM counterfoil.events WHERE tenant_id = $tenant AND position > 9",
        &[(10, "missing_tail")],
    ),
    (
        "two envelopes swapped",
        "CREATE TEMP TABLE a AS SELECT position, envelope FROM counterfoil.events WHERE tenant_id = $tenant;
         UPDATE counterfoil.events e SET envelope = a.envelope FROM a
         WHERE e.tenant_id = $tenant AND e.position IN (5, 6) AND a.position = 11 - e.position",
        &[(5, "hash_mismatch"), (6, "hash_mismatch")],
    ),
    (
        "two rows swapped",
        "UPDATE counterfoil.events SET position = 1000 WHERE tenant_id = $tenant AND position = 5;
         UPDATE counterfoil.events SET position = 5 WHERE tenant_id = $tenant AND position = 6;
         UPDATE counterfoil.events SET position = 6 WHERE tenant_id = $tenant AND position = 1000",
        &[(5, "columns_disagree"), (6, "columns_disagree")],
    ),
    (
        "an event below position 1",
        "ALTER TABLE counterfoil.events DROP CONSTRAINT events_position_check;
         UPDATE counterfoil.events SET position = -1 WHERE tenant_id = $tenant AND position = 1",
        &[(1, "gap"), (0, "duplicate")],
    ),
    (
        "another tenant's event in place of ours",
        "CREATE TEMP TABLE a AS SELECT * FROM counterfoil.events
         WHERE tenant_id = '00000000-0000-0000-0000-000000000000' AND position = 2;
         UPDATE counterfoil.events e SET envelope = a.envelope, hash = a.hash, signature = a.signature FROM a
         WHERE e.tenant_id = $tenant AND e.position = 5",
        &[(5, "foreign_tenant")],
    ),
    (
        "a document",
        "UPDATE counterfoil.documents SET body = replace(body, 'true', 'fals')",
        &[(4, "document_mismatch")],
    ),
    (
        "a document gone",
        "DELETE FROM counterfoil.documents",
        &[(4, "missing_document")],
    ),
    (
        "a head set back",
        "UPDATE counterfoil.chain_heads h SET position = 9, hash = e.hash, recorded_at = e.recorded_at
         FROM counterfoil.events e
         WHERE h.tenant_id = $tenant AND e.tenant_id = $tenant AND e.position = 9",
        &[(10, "ahead")],
    ),
    (
        "a head's hash",
        "UPDATE counterfoil.chain_heads SET hash = sha256('x') WHERE tenant_id = $tenant",
        &[(12, "chain_broken")],
    ),
    (
        "a head's time",
        "UPDATE counterfoil.chain_heads SET recorded_at = 'epoch' WHERE tenant_id = $tenant",
        &[(12, "columns_disagree")],
    ),
    (
        "a head gone",
        "DELETE FROM counterfoil.chain_heads WHERE tenant_id = $tenant",
        &[(1, "ahead")],
    ),
    (
        "a whole log gone",
        "DELETE FROM counterfoil.events WHERE tenant_id = $tenant;
         DELETE FROM counterfoil.chain_heads WHERE tenant_id = $tenant",
        &[(1, "missing_tail")],
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_tampering_is_found_with_tenant_and_position() {
    for (name, statement, expected) in TAMPERINGS {
        let ledger = ledger(12).await;
        tamper(&ledger, statement).await;
        let found = audit(&ledger).await;
        for (position, kind) in *expected {
            let finding = (ledger.tenant, *position, (*kind).to_owned());
            assert!(found.contains(&finding), "{name}: {position} {kind} in {found:?}");
        }
        let elsewhere = found.iter().find(|(tenant, ..)| *tenant != ledger.tenant);
        assert_eq!(elsewhere, None, "{name}");
        ledger.database.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_is_one_finding_and_a_lost_range_says_how_much() {
    let flipped = ledger(12).await;
    tamper(&flipped, TAMPERINGS[0].1).await;
    assert_eq!(
        audit(&flipped).await,
        [(flipped.tenant, 5, "hash_mismatch".to_owned())]
    );

    let cut = ledger(12).await;
    tamper(&cut, "DELETE FROM counterfoil.events WHERE tenant_id = $tenant AND (position <= 2 OR position IN (6, 7, 8) OR position = 12)").await;
    let summary = audit_with(&cut, scope(Some(cut.tenant))).await;
    let losses: Vec<_> = summary
        .findings
        .kept()
        .iter()
        .filter_map(|finding| finding.loss)
        .collect();
    let losses: Vec<_> = losses.iter().map(|loss| (loss.part, loss.events)).collect();
    assert_eq!(
        losses,
        [(LossPart::Prefix, 2), (LossPart::Middle, 3), (LossPart::Tail, 1)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_made_anew_with_another_key_fails_against_the_root_that_was_given() {
    let ledger = ledger(3).await;
    let other = KeyPair::from_seed(&[9; 32]).public_key().fingerprint();
    let pool = ledger.database.log();
    let keys = Keys::from_postgres(pool, Some(other)).await.unwrap();
    let audit = counterfoil::audit::PostgresAudit::new(pool.clone(), keys, scope(None));
    let found = found(&audit.run(&()).await.unwrap());
    assert!(
        found.contains(&(TenantId::PLATFORM, 1, "unknown_key".to_owned())),
        "{found:?}"
    );
    assert!(
        found.contains(&(ledger.tenant, 3, "unknown_key".to_owned())),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_alone_can_be_checked() {
    let ledger = ledger(12).await;
    let chain = || Scope {
        options: Options {
            signatures: false,
            ..Options::default()
        },
        ..scope(Some(ledger.tenant))
    };
    assert_eq!(found(&audit_with(&ledger, chain()).await), []);
    tamper(&ledger, TAMPERINGS[2].1).await;
    assert_eq!(
        found(&audit_with(&ledger, chain()).await),
        [],
        "signatures are not looked at"
    );
    tamper(
        &ledger,
        "DELETE FROM counterfoil.events WHERE tenant_id = $tenant AND position = 9",
    )
    .await;
    assert_eq!(
        found(&audit_with(&ledger, chain()).await),
        [(ledger.tenant, 9, "gap".to_owned())]
    );
}

#[tokio::test]
async fn an_unknown_tenant_is_an_error_and_not_a_clean_log() {
    let ledger = TestLedger::new().await;
    let keys = Keys::from_postgres(ledger.database.log(), None).await.unwrap();
    let scope = scope(Some(TenantId::generate()));
    let audit = counterfoil::audit::PostgresAudit::new(ledger.database.log().clone(), keys, scope);
    assert!(
        audit
            .run(&())
            .await
            .unwrap_err()
            .to_string()
            .contains("no tenant")
    );
}
