//! Read models on a real Postgres: events become rows, a rebuild makes the same rows, what cannot be folded is parked,
//! two projectors do no harm, and every tenant sees its own rows only.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use counterfoil_consumers::projector::ProjectorOptions;
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_projections::agent::Agents;
use counterfoil_projections::completion::Completions;
use counterfoil_projections::engine::{
    Declaration, EngineError, FoldError, FoldEvent, Projection, RebuildOptions, RebuildProgress, RowKey,
    Rows, cancel, diff, ensure_live, list_parked, live_version, page, rebuild, retry_parked,
};
use counterfoil_projections::rollup::Rollups;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::support::tamper;
use crate::support::ledger::TestLedger;
use crate::support::projections::{
    AGENT, Running, agent_payload, append, assert_no_difference, carried, populate, register_agent, settle,
    settled_completion,
};

/// Rows that the app role sees as `tenant`, as JSON.
async fn seen(ledger: &TestLedger, tenant: TenantId, query: &str) -> Vec<Value> {
    let mut transaction = ledger.database.tenant(tenant).await.unwrap();
    let rows: Vec<Value> = sqlx::query_scalar(query)
        .fetch_all(transaction.connection())
        .await
        .unwrap();
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_become_rows_and_no_projection_differs_from_one_folded_anew() {
    let ledger = TestLedger::new().await;
    let running = Running::start(&ledger, ProjectorOptions::default());
    let home = carried(&ledger, &[ledger.tenant]).await;
    populate(&ledger, ledger.tenant, "4").await;
    settle(&ledger).await;
    assert_eq!(list_parked(ledger.database.projector(), None).await.unwrap(), []);
    let usage = seen(
        &ledger,
        ledger.tenant,
        "SELECT to_jsonb(u) - 'tenant_id' - 'key' - 'day' FROM read.usage u",
    )
    .await;
    let expected = json!({"agent": AGENT, "model": "demo-small", "completions": 3, "settled": 1, "denied": 1,
        "failed": 1, "lost": 0, "input_tokens": 17, "output_tokens": 6, "cost": {"EUR": "100"}});
    assert_eq!(
        usage,
        [expected],
        "a correction takes the place of the upper bound"
    );
    let agents = seen(
        &ledger,
        ledger.tenant,
        "SELECT jsonb_array_length(api_keys)::text::jsonb FROM read.agents",
    )
    .await;
    assert_eq!(agents, [json!(1)]);
    let policies = seen(
        &ledger,
        ledger.tenant,
        "SELECT to_jsonb(active) FROM read.policies",
    )
    .await;
    assert_eq!(policies, [json!(1)]);
    let members = seen(
        &ledger,
        home,
        "SELECT jsonb_build_array(tenant, kri, latest -> 'value', share, exposure ->> 'micros') FROM read.rollup_members",
    )
    .await;
    assert_eq!(
        members,
        [json!([ledger.tenant, "denied-share", "4", "0.5", "4000000"])]
    );
    assert_no_difference(&ledger).await;
    running.stop().await;
    ledger.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_sees_its_own_rows_only_in_every_view() {
    let ledger = TestLedger::new().await;
    let other = TenantId::generate();
    ledger.create_tenant(other).await;
    let home = carried(&ledger, &[ledger.tenant, other]).await;
    populate(&ledger, ledger.tenant, "4").await;
    populate(&ledger, other, "6").await;
    let running = Running::start(&ledger, ProjectorOptions::default());
    settle(&ledger).await;
    let views: Vec<String> =
        sqlx::query_scalar("SELECT viewname::text FROM pg_views WHERE schemaname = 'read' ORDER BY 1")
            .fetch_all(ledger.database.projector())
            .await
            .unwrap();
    assert!(views.len() >= 11, "{views:?}");
    for view in views {
        let mut rows_of_all = 0;
        for tenant in [ledger.tenant, other, home, TenantId::PLATFORM] {
            let mut transaction = ledger.database.tenant(tenant).await.unwrap();
            let owners: Vec<Uuid> = sqlx::query_scalar(&format!("SELECT tenant_id FROM read.{view}"))
                .fetch_all(transaction.connection())
                .await
                .unwrap();
            assert!(
                owners.iter().all(|owner| *owner == tenant.0),
                "{view} shows {tenant} {owners:?}"
            );
            rows_of_all += owners.len();
        }
        assert!(
            rows_of_all > 0 || view == "kri_sources",
            "{view} has rows to be hidden"
        );
    }
    running.stop().await;
    ledger.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoned_event_parks_its_aggregate_and_is_folded_once_the_cause_is_mended() {
    let ledger = TestLedger::new().await;
    let running = Running::start(&ledger, ProjectorOptions::default());
    let (tenant, pool) = (ledger.tenant, ledger.database.projector());
    let (first, second) = (AGENT.to_string(), Uuid::from_u128(0xa2));
    register_agent(&ledger, tenant, AGENT).await;
    settle(&ledger).await;
    let take = "WITH taken AS (DELETE FROM read_agent_v1.agents RETURNING to_json(agents)::text), \
                counted AS (UPDATE counterfoil.projection_versions SET steps = steps + 1 WHERE projection = 'agent') \
                SELECT * FROM taken";
    let taken: String = sqlx::query_scalar(take).fetch_one(pool).await.unwrap();
    append(
        &ledger,
        tenant,
        ("agent", &first),
        1,
        "AgentSuspended",
        json!({"reason": "drill"}),
    )
    .await;
    append(&ledger, tenant, ("agent", &first), 2, "AgentResumed", json!({})).await;
    append(
        &ledger,
        tenant,
        ("agent", &first),
        3,
        "AgentChanged",
        agent_payload("Renamed"),
    )
    .await;
    register_agent(&ledger, tenant, second).await;
    settle(&ledger).await;
    let parked = list_parked(pool, Some("agent")).await.unwrap();
    let positions: Vec<i64> = parked.iter().map(|event| event.position).collect();
    assert_eq!(
        positions,
        [2, 3, 4],
        "the aggregate's later events wait in order behind it"
    );
    let names = seen(&ledger, tenant, "SELECT to_jsonb(key) FROM read.agents").await;
    assert_eq!(names, [json!(second)], "other aggregates pass");

    let give = "INSERT INTO read_agent_v1.agents SELECT * FROM json_populate_record(NULL::read_agent_v1.agents, $1::json)";
    sqlx::query(give).bind(taken).execute(pool).await.unwrap();
    let folded = retry_parked(pool, &Agents, tenant, Position(3)).await.unwrap();
    assert_eq!(folded, 3);
    assert_eq!(list_parked(pool, Some("agent")).await.unwrap(), []);
    let nothing = retry_parked(pool, &Agents, tenant, Position(3)).await;
    assert!(matches!(nothing, Err(EngineError::Version(_))));
    assert_no_difference(&ledger).await;
    running.stop().await;
    ledger.verify().await;
}

/// Waits until a tenant sees so many agents.
async fn sees_agents(ledger: &TestLedger, tenant: TenantId, count: usize) {
    let agents = "SELECT to_jsonb(key) FROM read.agents";
    let seen = async {
        while seen(ledger, tenant, agents).await.len() != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(60), seen).await;
    seen.expect("the read model comes to show them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_stays_out_while_the_others_go_on_and_is_fed_once_it_is_mended() {
    // A whole envelope, but another tenant's.
    let anothers = |other: TenantId| {
        format!("(SELECT envelope FROM counterfoil.events WHERE tenant_id = '{other}' AND position = 1)")
    };
    stays_out_until_mended(anothers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_says_something_else_than_was_hashed_stays_out_although_it_reads_well() {
    stays_out_until_mended(|_| "replace(envelope, '\"high\"', '\"minimal\"')".to_owned()).await;
}

async fn stays_out_until_mended(altered: impl Fn(TenantId) -> String) {
    let ledger = TestLedger::new().await;
    ensure_live(ledger.database.projector(), &Agents).await.unwrap();
    let other = TenantId::generate();
    ledger.create_tenant(other).await;
    for tenant in [ledger.tenant, other] {
        register_agent(&ledger, tenant, AGENT).await;
    }
    let kept = ledger.events(ledger.tenant).await[0].recorded.envelope.clone();
    let damage = format!(
        "UPDATE counterfoil.events SET envelope = {} WHERE tenant_id = $tenant AND position = 1",
        altered(other)
    );
    tamper(&ledger, &damage).await;
    assert_ne!(ledger.events(ledger.tenant).await[0].recorded.envelope, kept);
    let running = Running::start(&ledger, ProjectorOptions::default());
    let mut registered = 1;
    // Whichever read model comes to it first: the others' events pass in every step of it.
    for id in 0xb0_u128..0xb8 {
        sees_agents(&ledger, other, registered).await;
        register_agent(&ledger, other, Uuid::from_u128(id)).await;
        registered += 1;
    }
    sees_agents(&ledger, other, registered).await;
    sees_agents(&ledger, ledger.tenant, 0).await;
    let problem = running.projector.status().problem().unwrap();
    assert!(
        problem.contains(&format!("tenant {} position 1", ledger.tenant)),
        "{problem}"
    );
    let mend = format!(
        "UPDATE counterfoil.events SET envelope = '{kept}' WHERE tenant_id = $tenant AND position = 1"
    );
    tamper(&ledger, &mend).await;
    sees_agents(&ledger, ledger.tenant, 1).await;
    assert_no_difference(&ledger).await;
    running.stop().await;
    ledger.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_no_fold_can_read_is_parked_and_left_out_of_the_comparison() {
    let ledger = TestLedger::new().await;
    let running = Running::start(&ledger, ProjectorOptions::default());
    let malformed = json!({"name": 7});
    append(
        &ledger,
        ledger.tenant,
        ("agent", &AGENT.to_string()),
        0,
        "AgentRegistered",
        malformed,
    )
    .await;
    settle(&ledger).await;
    let parked = list_parked(ledger.database.projector(), None).await.unwrap();
    assert_eq!(parked.len(), 1);
    assert!(
        parked[0].reason.contains("AgentRegistered"),
        "{}",
        parked[0].reason
    );
    assert_no_difference(&ledger).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_can_be_cancelled_and_resumed_and_gives_equal_rows() {
    let ledger = TestLedger::new().await;
    let other = TenantId::generate();
    ledger.create_tenant(other).await;
    carried(&ledger, &[ledger.tenant, other]).await;
    populate(&ledger, ledger.tenant, "4").await;
    populate(&ledger, other, "6").await;
    let running = Running::start(&ledger, ProjectorOptions::default());
    settle(&ledger).await;
    running.stop().await;
    let pool = ledger.database.projector();
    // Slow enough to be cancelled after its first step.
    let slow = RebuildOptions {
        events_per_s: 4,
        workers: 1,
    };
    let (begun, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let say = move |progress| begun.send(progress).unwrap_or(());
    let (outcome, stopped) = tokio::join!(rebuild(pool, &Rollups, slow, &say), async {
        seen.recv().await.unwrap();
        cancel(pool, "rollup").await.unwrap()
    });
    assert!(stopped);
    assert!(matches!(outcome, Err(EngineError::Cancelled(_))), "{outcome:?}");
    assert_eq!(live_version(pool, "rollup").await.unwrap().version, 1);

    // What the cancelled attempt committed stays: the next begins at its cursors, and folds what is behind them, once.
    let to_fold = "SELECT count(*) FROM counterfoil.events e LEFT JOIN counterfoil.projection_cursors c \
                   ON c.tenant_id = e.tenant_id AND c.projection = 'rollup' AND c.version = $1 \
                   WHERE e.position > coalesce(c.position, 0) AND e.type = ANY($2)";
    let types = Rollups.declaration().event_types;
    let left = async |version: i32| {
        let left: i64 = sqlx::query_scalar(to_fold)
            .bind(version)
            .bind(types)
            .fetch_one(pool)
            .await
            .unwrap();
        u64::try_from(left).unwrap()
    };
    let (all, rest) = (left(0).await, left(2).await);
    assert!(
        0 < rest && rest < all,
        "it was cancelled midway: {rest} of {all} are left"
    );

    let folded = AtomicU64::new(0);
    let watch = |progress: RebuildProgress| folded.store(progress.folded, Ordering::SeqCst);
    let version = rebuild(pool, &Rollups, RebuildOptions::default(), &watch)
        .await
        .unwrap();
    assert_eq!(version.version, 2, "it goes on with the version that was begun");
    assert_eq!(folded.into_inner(), rest, "what was folded is not folded again");
    for projection in counterfoil_projections::all()
        .into_iter()
        .filter(|one| one.name() != "rollup")
    {
        let version = rebuild(pool, &*projection, RebuildOptions::default(), &|_| {})
            .await
            .unwrap();
        assert_eq!(live_version(pool, projection.name()).await.unwrap(), version);
    }
    assert_no_difference(&ledger).await;
    ledger.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_projectors_at_once_count_every_completion_once() {
    let ledger = TestLedger::new().await;
    // Neither waits for the other: only the fence keeps them apart.
    let options = ProjectorOptions {
        alone: false,
        ..ProjectorOptions::default()
    };
    let (one, other) = (Running::start(&ledger, options), Running::start(&ledger, options));
    let ids = 1..=100u128;
    futures::future::join_all(ids.map(|id| settled_completion(&ledger, ledger.tenant, Uuid::from_u128(id))))
        .await;
    settle(&ledger).await;
    let counts = seen(
        &ledger,
        ledger.tenant,
        "SELECT to_jsonb(completions + settled) FROM read.usage",
    )
    .await;
    assert_eq!(counts, [json!(200)]);
    assert_no_difference(&ledger).await;
    one.stop().await;
    other.stop().await;
    ledger.verify().await;
}

/// After a failover a log may end before what was heard of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_log_does_not_hold_is_not_passed_over() {
    let ledger = TestLedger::new().await;
    register_agent(&ledger, ledger.tenant, AGENT).await;
    let end = Position(ledger.events(ledger.tenant).await.len() as u64);
    let mut connection = ledger.database.projector().acquire().await.unwrap();
    let none_of_its_types: &dyn Projection = &Completions;
    for projection in [&Agents, none_of_its_types] {
        let heard = Position(end.0 + 20);
        let batch = page(&mut connection, projection, ledger.tenant, Position::ZERO, heard)
            .await
            .unwrap();
        assert_eq!(batch.to, end, "{}", projection.name());
        let batch = page(
            &mut connection,
            projection,
            ledger.tenant,
            heard,
            Position(end.0 + 30),
        )
        .await
        .unwrap();
        assert_eq!((batch.to, batch.events.len()), (heard, 0));
    }
}

/// While a program is replaced both run: each feeds what it has built, whoever came first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_build_swaps_its_version_in_while_the_older_one_still_feeds() {
    let ledger = TestLedger::new().await;
    let older = Running::start(&ledger, ProjectorOptions::default());
    register_agent(&ledger, ledger.tenant, AGENT).await;
    settle(&ledger).await;
    let newer = Running::of(&ledger, vec![Arc::new(NewerAgents)], ProjectorOptions::default());
    let pool = ledger.database.projector();
    let revision = i64::from(Agents.declaration().revision);
    let live = "SELECT revision::bigint FROM counterfoil.projection_versions \
                WHERE projection = 'agent' AND state = 'live'";
    reaches(pool, live, revision + 1).await;
    register_agent(&ledger, ledger.tenant, Uuid::from_u128(0xa2)).await;
    let both_hold =
        "SELECT (SELECT count(*) FROM read_agent_v1.agents) + (SELECT count(*) FROM read_agent_v2.agents)";
    reaches(pool, both_hold, 4).await;
    newer.stop().await;
    older.stop().await;
}

/// Waits until a query answers this number.
async fn reaches(pool: &sqlx::PgPool, query: &str, number: i64) {
    let reached = async {
        while sqlx::query_scalar::<_, i64>(query).fetch_one(pool).await.unwrap() != number {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reached)
        .await
        .expect(query);
}

/// [`Agents`] of the next build.
struct NewerAgents;

impl Projection for NewerAgents {
    fn declaration(&self) -> &'static Declaration {
        static DECLARATION: std::sync::LazyLock<Declaration> = std::sync::LazyLock::new(|| Declaration {
            revision: Agents.declaration().revision + 1,
            ..*Agents.declaration()
        });
        &DECLARATION
    }

    fn touches(&self, event: &FoldEvent<'_>) -> Vec<RowKey> {
        Agents.touches(event)
    }

    fn fold(&self, rows: &mut Rows, event: &FoldEvent<'_>) -> Result<(), FoldError> {
        Agents.fold(rows, event)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_changed_by_hand_shows_in_the_comparison() {
    let ledger = TestLedger::new().await;
    let running = Running::start(&ledger, ProjectorOptions::default());
    populate(&ledger, ledger.tenant, "4").await;
    settle(&ledger).await;
    let pool = ledger.database.projector();
    let live = ensure_live(pool, &Completions).await.unwrap();
    assert_eq!(live.version, 1);
    sqlx::query("UPDATE read_completion_v1.usage SET denied = denied + 1")
        .execute(pool)
        .await
        .unwrap();
    let found = diff(pool, &Completions).await.unwrap();
    let sides: Vec<(&str, &str)> = found
        .iter()
        .map(|one| (one.table_name.as_str(), one.side.as_str()))
        .collect();
    assert_eq!(sides, [("usage", "fresh"), ("usage", "live")]);
    assert_eq!(found[0].tenant_id, ledger.tenant.0);
    assert!(diff(pool, &Agents).await.unwrap().is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_build_leaves_the_live_version_of_a_newer_one_alone() {
    let ledger = TestLedger::new().await;
    let running = Running::start(&ledger, ProjectorOptions::default());
    settle(&ledger).await;
    running.stop().await;
    let pool = ledger.database.projector();
    let newer =
        "UPDATE counterfoil.projection_versions SET revision = revision + 1 WHERE projection = 'agent'";
    sqlx::query(newer).execute(pool).await.unwrap();
    let before = live_version(pool, "agent").await.unwrap();

    populate(&ledger, ledger.tenant, "4").await;
    let running = Running::start(&ledger, ProjectorOptions::default());
    let folded = "SELECT count(*) FROM counterfoil.projection_cursors c JOIN counterfoil.chain_heads h USING (tenant_id) \
                  WHERE c.projection = 'completion' AND c.position = h.position";
    let tenants = 2_i64;
    while sqlx::query_scalar::<_, i64>(folded)
        .fetch_one(pool)
        .await
        .unwrap()
        < tenants
    {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    running.stop().await;
    assert_eq!(live_version(pool, "agent").await.unwrap(), before);
    let jobs = "SELECT count(*) FROM counterfoil.rebuild_jobs WHERE projection = 'agent'";
    assert_eq!(
        sqlx::query_scalar::<_, i64>(jobs).fetch_one(pool).await.unwrap(),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_read_models_migration_goes_down_and_up_again() {
    let ledger = TestLedger::new().await;
    let running = Running::start(&ledger, ProjectorOptions::default());
    populate(&ledger, ledger.tenant, "4").await;
    settle(&ledger).await;
    running.stop().await;
    let owner = ledger
        .admin
        .clone()
        .username("counterfoil_owner")
        .password("only-for-tests");
    counterfoil::init::revert(&owner, 3).await.unwrap();
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname ~ '^read(_|$)'";
    let pool = ledger.database.projector();
    assert_eq!(
        sqlx::query_scalar::<_, i64>(schemas)
            .fetch_one(pool)
            .await
            .unwrap(),
        0
    );

    counterfoil::init::migrate(&owner).await.unwrap();
    let running = Running::start(&ledger, ProjectorOptions::default());
    settle(&ledger).await;
    assert_no_difference(&ledger).await;
    running.stop().await;
}
