//! Idempotency-Keys are kept for 24 hours: then they go, and a repeat is a new request, whether they have gone or not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use counterfoil_events::ledger::{AppendError, delete_expired_keys};
use sqlx::{ConnectOptions, PgConnection};

use crate::support::ledger::{TestLedger, request, with_key};

async fn age(admin: &mut PgConnection, hours: f64) {
    let age = "UPDATE counterfoil.idempotency SET created_at = now() - make_interval(secs => $1 * 3600)";
    sqlx::query(age).bind(hours).execute(admin).await.unwrap();
}

async fn kept(admin: &mut PgConnection) -> i64 {
    let count = "SELECT count(*) FROM counterfoil.idempotency";
    sqlx::query_scalar(count).fetch_one(admin).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_keys_go_in_batches_and_those_of_today_stay() {
    let ledger = TestLedger::new().await;
    let mut admin = ledger.admin.connect().await.unwrap();
    // More than two batches, of two tenants, and a day's younger ones.
    let many = "INSERT INTO counterfoil.idempotency (tenant_id, key_hash, fingerprint, first_position, event_count, created_at) \
                SELECT CASE n % 2 WHEN 0 THEN gen_random_uuid() ELSE $1 END, sha256(n::text::bytea), sha256('x'), 1, 1, \
                       now() - CASE WHEN n <= 4500 THEN interval '24 hours 1 second' ELSE interval '23 hours 59 minutes' END \
                FROM generate_series(1, 5000) AS n";
    sqlx::query(many)
        .bind(ledger.tenant.0)
        .execute(&mut admin)
        .await
        .unwrap();
    assert_eq!(delete_expired_keys(ledger.database.log()).await.unwrap(), 4500);
    assert_eq!(kept(&mut admin).await, 500);
    assert_eq!(delete_expired_keys(ledger.database.log()).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_after_24_hours_is_a_new_request_before_and_after_the_janitor_came() {
    let ledger = TestLedger::new().await;
    let mut admin = ledger.admin.connect().await.unwrap();
    let ask = |sequence, body| {
        let request = with_key(request(ledger.tenant, "thing", "one", sequence), "key", body);
        ledger.sequencer.append(request)
    };
    let first = ask(0, "body").await.unwrap();
    age(&mut admin, 23.9).await;
    let repeated = ask(0, "body").await.unwrap();
    assert_eq!(
        repeated.receipts[0].position, first.receipts[0].position,
        "within the day: the first receipt"
    );
    assert!(matches!(
        ask(1, "other").await.unwrap_err(),
        AppendError::KeyReused
    ));

    // Past it, with the record still there: another request takes the key anew.
    age(&mut admin, 24.1).await;
    let second = ask(1, "other").await.unwrap();
    assert!(second.receipts[0].position > first.receipts[0].position);
    assert_eq!(
        delete_expired_keys(ledger.database.log()).await.unwrap(),
        0,
        "what was taken anew is not expired"
    );

    age(&mut admin, 24.1).await;
    assert_eq!(delete_expired_keys(ledger.database.log()).await.unwrap(), 1);
    let third = ask(2, "body").await.unwrap();
    assert!(third.receipts[0].position > second.receipts[0].position);
    assert_eq!(kept(&mut admin).await, 1);
    ledger.verify().await;
}
