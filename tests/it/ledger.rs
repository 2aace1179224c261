//! The ledger on a real Postgres: order, conflicts, idempotency, unknown outcomes, immutability, isolation.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod outcomes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use counterfoil_events::document::Document;
use counterfoil_events::ids::{Position, Sequence, TenantId};
use counterfoil_events::ledger::{AppendError, AppendRequest, Database, LogReader, Sequencer};
use counterfoil_events::timestamp::{Clock, Timestamp};
use sqlx::{ConnectOptions, Connection};

use crate::support::invariants;
use crate::support::ledger::{TestLedger, event, request, with_key};
use crate::support::proxy::Proxy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_stand_gapless_chained_and_signed() {
    let ledger = TestLedger::new().await;
    let tasks = (0..32).map(|task| {
        let (sequencer, tenant) = (ledger.sequencer.clone(), ledger.tenant);
        tokio::spawn(async move {
            let mut receipts = Vec::new();
            for step in 0..10 {
                let appended = sequencer
                    .append(request(tenant, "thing", &format!("a{task}"), step))
                    .await
                    .unwrap();
                receipts.extend(appended.receipts);
            }
            receipts
        })
    });
    let receipts: Vec<_> = futures::future::join_all(tasks)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    let events = ledger.events(ledger.tenant).await;
    assert_eq!((receipts.len(), events.len()), (320, 320));
    for receipt in receipts {
        let stored = &events[receipt.position.0 as usize - 1];
        assert_eq!(
            stored.receipt(),
            receipt,
            "what was acknowledged is what stands there"
        );
    }
    ledger.verify().await;
}

#[tokio::test]
async fn a_conflict_fails_only_its_own_request() {
    let ledger = TestLedger::new().await;
    let append = |id: &'static str, expected| {
        ledger
            .sequencer
            .append(request(ledger.tenant, "thing", id, expected))
    };
    let (first, second, other) = tokio::join!(append("a", 0), append("a", 0), append("b", 0));
    let (won, lost) = (first.is_ok(), second.is_ok());
    assert!(
        won ^ lost,
        "exactly one of two decisions on the same state is written"
    );
    let error = first.err().or(second.err()).unwrap();
    assert!(
        matches!(
            error,
            AppendError::Conflict {
                actual: Sequence(1),
                ..
            }
        ),
        "{error}"
    );
    other.unwrap();
    assert_eq!(ledger.events(ledger.tenant).await.len(), 2);
    ledger.verify().await;
}

#[tokio::test]
async fn the_same_key_and_body_get_the_first_receipt_and_another_body_is_refused() {
    let ledger = TestLedger::new().await;
    let send = |id: &'static str, body: &'static str| {
        ledger
            .sequencer
            .append(with_key(request(ledger.tenant, "thing", id, 0), "key-1", body))
    };
    // Two at once, so that the key is open when the second arrives.
    let (first, second) = tokio::join!(send("a", "body"), send("b", "body"));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.receipts, second.receipts);
    assert!(first.replayed ^ second.replayed);
    let third = send("c", "body").await.unwrap();
    assert!(third.replayed && third.receipts == first.receipts);
    assert!(matches!(
        send("d", "another body").await,
        Err(AppendError::KeyReused)
    ));
    assert_eq!(ledger.events(ledger.tenant).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sequencers_on_one_tenant_both_make_progress_and_never_fork() {
    let ledger = TestLedger::new().await;
    let other = ledger.another_sequencer();
    let run = |sequencer: counterfoil_events::ledger::Sequencer, name: &'static str| {
        let tenant = ledger.tenant;
        let tasks = (0..8).map(move |task| {
            let sequencer = sequencer.clone();
            tokio::spawn(async move {
                for step in 0..15 {
                    sequencer
                        .append(request(tenant, "thing", &format!("{name}{task}"), step))
                        .await
                        .unwrap();
                }
            })
        });
        futures::future::join_all(tasks)
    };
    let (ours, theirs) = tokio::join!(run(ledger.sequencer.clone(), "ours"), run(other, "theirs"));
    ours.into_iter().chain(theirs).for_each(Result::unwrap);
    assert_eq!(ledger.events(ledger.tenant).await.len(), 240);
    ledger.verify().await;
}

#[tokio::test]
async fn a_lost_answer_to_a_committed_append_is_found_out() {
    let ledger = TestLedger::new().await;
    let proxy = Proxy::start(ledger.admin.get_host().to_owned(), ledger.admin.get_port()).await;
    let mut options = ledger.options.clone();
    options.server = options.server.port(proxy.port());
    let sequencer = ledger.sequencer_on(&options);
    sequencer
        .append(request(ledger.tenant, "thing", "a", 0))
        .await
        .unwrap();
    // The statement reaches the server and commits; its answer never comes back.
    proxy.swallow_next_answer();
    let appended = sequencer
        .append(request(ledger.tenant, "thing", "a", 1))
        .await
        .unwrap();
    assert_eq!(appended.receipts[0].position, Position(2));
    assert!(proxy.swallowed() > 0, "the fault was really injected");
    sequencer
        .append(request(ledger.tenant, "thing", "a", 2))
        .await
        .unwrap();
    assert_eq!(ledger.events(ledger.tenant).await.len(), 3);
    ledger.verify().await;
}

#[tokio::test]
async fn killed_backends_never_lose_or_double_an_acknowledged_append() {
    let ledger = TestLedger::new().await;
    let killer = end_backends(&ledger, 15);
    let writer = async {
        let mut acknowledged = Vec::new();
        for number in 0..300u32 {
            let id = format!("a{number}");
            match ledger
                .sequencer
                .append(request(ledger.tenant, "thing", &id, 0))
                .await
            {
                Ok(appended) => acknowledged.push((id, appended.receipts[0].clone())),
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
        acknowledged
    };
    let ((), acknowledged) = tokio::join!(killer, writer);
    let events = ledger.events(ledger.tenant).await;
    for (id, receipt) in &acknowledged {
        let standing: Vec<_> = events.iter().filter(|event| event.aggregate_id == *id).collect();
        assert_eq!(standing.len(), 1, "{id} stands once");
        assert_eq!(standing[0].receipt(), *receipt);
    }
    assert!(
        acknowledged.len() >= 250,
        "most appends succeed in spite of it: {}",
        acknowledged.len()
    );
    ledger.verify().await;
}

/// Ends all backends of the log's role, again and again.
async fn end_backends(ledger: &TestLedger, times: u32) {
    let mut admin = ledger.admin.connect().await.unwrap();
    for _ in 0..times {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND usename = 'counterfoil_log'",
        )
        .execute(&mut admin)
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_busy_tenants_than_connections_outlive_the_loss_of_every_connection() {
    let ledger = TestLedger::new().await;
    let mut tenants = vec![ledger.tenant];
    for _ in 0..5 {
        let tenant = TenantId::generate();
        ledger.create_tenant(tenant).await;
        tenants.push(tenant);
    }
    let mut options = ledger.options.clone();
    options.sizes.log = 2;
    let sequencer = ledger.sequencer_on(&options);
    let ended = Arc::new(AtomicBool::new(false));
    let writers = tenants.iter().map(|tenant| {
        let (sequencer, ended, tenant) = (sequencer.clone(), Arc::clone(&ended), *tenant);
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let id = uuid::Uuid::now_v7().to_string();
                match sequencer.append(request(tenant, "thing", &id, 0)).await {
                    Ok(appended) => acknowledged.extend(appended.receipts),
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
            }
            acknowledged
        })
    });
    let writers: Vec<_> = writers.collect();
    end_backends(&ledger, 40).await;
    ended.store(true, Ordering::Relaxed);
    let answered = futures::future::join_all(writers);
    let answered = tokio::time::timeout(Duration::from_secs(60), answered)
        .await
        .expect("everyone gets an answer");
    // The ledger's own connections have been ended, too.
    let reader = LogReader::new(Database::new(&ledger.options).log().clone());
    for (tenant, acknowledged) in tenants.iter().zip(answered) {
        for receipt in acknowledged.unwrap() {
            let (at, id) = (receipt.position, receipt.event_id);
            let there = reader.page(*tenant, Position(at.0 - 1), at, 1).await.unwrap();
            assert_eq!(there[0].event_id, id);
        }
        append_at_last(&sequencer, *tenant).await;
    }
    invariants::verify(&reader).await;
}

/// Appends, in spite of what is left of connections that were ended.
async fn append_at_last(sequencer: &Sequencer, tenant: TenantId) {
    for _ in 0..10 {
        let afterwards = request(tenant, "thing", "afterwards", 0);
        match sequencer.append(afterwards).await {
            Ok(_) => return,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
    panic!("appends to {tenant} do not work again");
}

#[tokio::test]
async fn what_postgres_refuses_fails_alone() {
    let ledger = TestLedger::new().await;
    let append = |id: &'static str| ledger.sequencer.append(request(ledger.tenant, "thing", id, 0));
    // U+0000 cannot be stored as text: it stands for anything that makes the whole statement fail.
    let (good, bad, also_good) = tokio::join!(append("good"), append("b\0d"), append("also good"));
    good.unwrap();
    also_good.unwrap();
    assert!(matches!(bad, Err(AppendError::Impossible(_))));
    assert_eq!(ledger.events(ledger.tenant).await.len(), 2);
    ledger.verify().await;
}

#[tokio::test]
async fn an_envelope_at_the_limit_is_kept_and_one_byte_more_is_refused() {
    let ledger = TestLedger::new().await;
    let with_payload = |id: &str, bytes: usize| {
        let mut request = request(ledger.tenant, "thing", id, 0);
        request.request_id = "r".to_owned();
        request.parts[0].events = vec![event(&format!(r#"{{"fill":"{}"}}"#, "x".repeat(bytes)))];
        request
    };
    ledger.sequencer.append(with_payload("probe", 0)).await.unwrap();
    let overhead = ledger.events(ledger.tenant).await[0].recorded.envelope.len();
    // Position 1 and 2, and ids of five letters: all else is equal.
    let room = 65_535 - overhead;
    ledger
        .sequencer
        .append(with_payload("limit", room))
        .await
        .unwrap();
    assert_eq!(
        ledger.events(ledger.tenant).await[1].recorded.envelope.len(),
        65_535
    );
    let (over, beside) = tokio::join!(
        ledger.sequencer.append(with_payload("over!", room + 1)),
        ledger
            .sequencer
            .append(request(ledger.tenant, "thing", "beside", 0)),
    );
    assert!(matches!(over, Err(AppendError::TooLarge(_))));
    beside.unwrap();
    ledger.verify().await;
}

/// A request with an event that is over the limit.
fn oversized(tenant: TenantId, id: &str) -> AppendRequest {
    let mut request = request(tenant, "thing", id, 0);
    request.parts[0].events = vec![event(&format!(r#"{{"fill":"{}"}}"#, "x".repeat(65_535)))];
    request
}

#[tokio::test]
async fn what_is_left_out_as_too_large_is_no_conflict_for_others() {
    let ledger = TestLedger::new().await;
    let too_large = oversized(ledger.tenant, "a");
    let fits = request(ledger.tenant, "thing", "a", 0);
    let (too_large, fits) = tokio::join!(ledger.sequencer.append(too_large), ledger.sequencer.append(fits));
    assert!(matches!(too_large, Err(AppendError::TooLarge(_))));
    fits.unwrap();
    ledger.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_request_alone_on_a_contended_lane_leaves_the_head_as_it_was() {
    let ledger = TestLedger::new().await;
    let (other, ended) = (ledger.another_sequencer(), AtomicBool::new(false));
    let busy = async {
        while !ended.load(Ordering::Relaxed) {
            let id = uuid::Uuid::now_v7().to_string();
            other
                .append(request(ledger.tenant, "thing", &id, 0))
                .await
                .unwrap();
        }
    };
    let ours = async {
        for number in 0..100 {
            let id = format!("a{number}");
            let written = ledger.sequencer.append(request(ledger.tenant, "thing", &id, 0));
            written.await.unwrap();
            let refused = ledger.sequencer.append(oversized(ledger.tenant, &id)).await;
            assert!(matches!(refused, Err(AppendError::TooLarge(_))));
        }
        ended.store(true, Ordering::Relaxed);
    };
    tokio::join!(busy, ours);
    // The lane has met the other's events to the last, and still locks the head first.
    let refused = ledger.sequencer.append(oversized(ledger.tenant, "b")).await;
    assert!(matches!(refused, Err(AppendError::TooLarge(_))));
    let head = ledger.reader.head(ledger.tenant).await.unwrap().unwrap().head;
    let events = ledger.events(ledger.tenant).await;
    let last = events.last().unwrap();
    assert_eq!(
        (head.position, head.recorded_at),
        (last.recorded.position, last.recorded_at)
    );
    ledger.verify().await;
}

#[tokio::test]
async fn an_append_to_a_tenant_that_was_never_created_is_an_error() {
    let ledger = TestLedger::new().await;
    let nobody = TenantId::generate();
    let error = ledger
        .sequencer
        .append(request(nobody, "thing", "a", 0))
        .await
        .unwrap_err();
    assert!(
        matches!(error, AppendError::MissingTenant(tenant) if tenant == nobody),
        "{error}"
    );
}

#[tokio::test]
async fn a_quarantined_tenant_takes_no_appends_and_others_do() {
    let ledger = TestLedger::new().await;
    let other = TenantId::generate();
    ledger.create_tenant(other).await;
    ledger
        .sequencer
        .append(request(ledger.tenant, "thing", "a", 0))
        .await
        .unwrap();
    let quarantine = |reason: Option<&'static str>| {
        sqlx::query("SELECT counterfoil.set_quarantine($1, $2)")
            .bind(ledger.tenant.0)
            .bind(reason)
            .execute(ledger.database.log())
    };
    quarantine(Some("the stream is ahead")).await.unwrap();
    let error = ledger
        .sequencer
        .append(request(ledger.tenant, "thing", "a", 1))
        .await
        .unwrap_err();
    assert!(matches!(error, AppendError::Quarantined { .. }), "{error}");
    ledger
        .sequencer
        .append(request(other, "thing", "a", 0))
        .await
        .unwrap();
    quarantine(None).await.unwrap();
    ledger
        .sequencer
        .append(request(ledger.tenant, "thing", "a", 1))
        .await
        .unwrap();
    ledger.verify().await;
}

#[tokio::test]
async fn documents_are_written_with_their_event_or_not_at_all() {
    let ledger = TestLedger::new().await;
    let document = Document::new("package counterfoil".to_owned()).unwrap();
    let with_document = |expected| {
        let mut request = request(ledger.tenant, "thing", "a", expected);
        request.documents = vec![document.clone()];
        request
    };
    let digest = document.reference().digest;
    assert!(ledger.sequencer.append(with_document(7)).await.is_err());
    assert_eq!(ledger.reader.document(ledger.tenant, digest).await.unwrap(), None);
    ledger.sequencer.append(with_document(0)).await.unwrap();
    ledger.sequencer.append(with_document(1)).await.unwrap();
    assert_eq!(
        ledger.reader.document(ledger.tenant, digest).await.unwrap(),
        Some(document)
    );
}

#[tokio::test]
async fn the_position_as_of_a_time_is_the_last_one_recorded_not_after_it() {
    const BEGIN: i64 = 1_800_000_000;
    let clock = Arc::new(TurnedClock(AtomicI64::new(BEGIN)));
    let ledger = TestLedger::with_clock(clock.clone()).await;
    let (tenant, reader) = (ledger.tenant, &ledger.reader);
    let at = |seconds| chrono::DateTime::from_timestamp(seconds, 0).unwrap().into();
    assert_eq!(
        reader.position_as_of(tenant, at(BEGIN)).await.unwrap(),
        Position::ZERO
    );
    for step in 0..23 {
        // One, two, three or no seconds later; sometimes earlier by the clock.
        clock
            .0
            .fetch_add([1, 0, 3, 0, 0, 2, -1][step as usize % 7], Ordering::Relaxed);
        let appended = ledger.sequencer.append(request(tenant, "thing", "a", step)).await;
        appended.unwrap();
        let events = ledger.events(tenant).await;
        for seconds in BEGIN - 1..BEGIN + 30 {
            let time: Timestamp = at(seconds);
            let naive = events.iter().rev().find(|event| event.recorded_at <= time);
            let naive = naive.map_or(Position::ZERO, |event| event.recorded.position);
            assert_eq!(
                reader.position_as_of(tenant, time).await.unwrap(),
                naive,
                "{seconds}"
            );
        }
    }
    let nobody = TenantId::generate();
    assert_eq!(
        reader.position_as_of(nobody, at(BEGIN)).await.unwrap(),
        Position::ZERO
    );
}

/// A clock that the test turns, in seconds.
struct TurnedClock(AtomicI64);

impl Clock for TurnedClock {
    fn now(&self) -> Timestamp {
        chrono::DateTime::from_timestamp(self.0.load(Ordering::Relaxed), 0)
            .unwrap()
            .into()
    }
}

#[tokio::test]
async fn recorded_at_never_decreases_when_the_clock_does() {
    let clock = Arc::new(TurnedClock(AtomicI64::new(1_800_000_000)));
    let ledger = TestLedger::with_clock(clock.clone()).await;
    for (step, seconds) in [1_800_000_100, 1_800_000_000, 1_700_000_000, 1_800_000_200]
        .into_iter()
        .enumerate()
    {
        clock.0.store(seconds, Ordering::Relaxed);
        ledger
            .sequencer
            .append(request(ledger.tenant, "thing", "a", step as u64))
            .await
            .unwrap();
    }
    let times: Vec<i64> = ledger
        .events(ledger.tenant)
        .await
        .iter()
        .map(|event| event.recorded_at.as_micros() / 1_000_000)
        .collect();
    assert_eq!(
        times,
        [1_800_000_100, 1_800_000_100, 1_800_000_100, 1_800_000_200]
    );
    let at = chrono::DateTime::from_timestamp(1_800_000_150, 0).unwrap().into();
    assert_eq!(
        ledger.reader.position_as_of(ledger.tenant, at).await.unwrap(),
        Position(3)
    );
    ledger.verify().await;
}

#[tokio::test]
async fn the_log_refuses_change_from_everyone() {
    let ledger = TestLedger::new().await;
    ledger
        .sequencer
        .append(request(ledger.tenant, "thing", "a", 0))
        .await
        .unwrap();
    for role in [
        "counterfoil_owner",
        "counterfoil_app",
        "counterfoil_reader",
        "counterfoil_log",
        "counterfoil_projector",
    ] {
        let mut connection = ledger
            .admin
            .clone()
            .username(role)
            .password("only-for-tests")
            .connect()
            .await
            .unwrap();
        for statement in [
            "UPDATE counterfoil.events SET type = 'Forged'",
            "DELETE FROM counterfoil.events",
            "TRUNCATE counterfoil.events",
            "INSERT INTO counterfoil.events SELECT * FROM counterfoil.events",
            "UPDATE counterfoil.documents SET body = ''",
        ] {
            let changed = sqlx::query(statement).execute(&mut connection).await;
            let allowed = changed.as_ref().is_ok_and(|done| done.rows_affected() > 0);
            assert!(!allowed, "{role} could run {statement}");
        }
        connection.close().await.unwrap();
    }
    // Even the superuser meets the trigger.
    let mut superuser = ledger.admin.connect().await.unwrap();
    let refused = sqlx::query("DELETE FROM counterfoil.events")
        .execute(&mut superuser)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("append-only"), "{refused}");
    assert_eq!(ledger.events(ledger.tenant).await.len(), 1);
}

#[tokio::test]
async fn a_request_sees_its_own_tenant_and_without_one_nothing() {
    let ledger = TestLedger::new().await;
    let other = TenantId::generate();
    ledger.create_tenant(other).await;
    for tenant in [ledger.tenant, other] {
        ledger
            .sequencer
            .append(request(tenant, "thing", "a", 0))
            .await
            .unwrap();
    }
    // A query without a WHERE: what a bug in a handler would send.
    let mut transaction = ledger.database.tenant(ledger.tenant).await.unwrap();
    let seen: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT tenant_id FROM counterfoil.events")
        .fetch_all(transaction.connection())
        .await
        .unwrap();
    assert_eq!(seen, [ledger.tenant.0]);
    drop(transaction);
    let mut bare = ledger
        .admin
        .clone()
        .username("counterfoil_app")
        .password("only-for-tests")
        .connect()
        .await
        .unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM counterfoil.events")
        .fetch_one(&mut bare)
        .await
        .unwrap();
    assert_eq!(seen, 0);
}

#[tokio::test]
async fn no_migration_drops_a_log_that_holds_events() {
    let ledger = TestLedger::new().await;
    let owner = ledger
        .admin
        .clone()
        .username("counterfoil_owner")
        .password("only-for-tests");
    let refused = counterfoil::init::revert(&owner, 0).await.unwrap_err();
    assert!(refused.to_string().contains("holds events"), "{refused}");
    ledger.verify().await;
}
