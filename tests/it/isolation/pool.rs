//! However a request ends, the connection that it leaves behind sees nothing until the next one says whose it is: with
//! a pool of one connection, straight and through PgBouncer with one session.

use std::time::Duration;

use counterfoil_events::ids::TenantId;
use counterfoil_events::ledger::{Database, DatabaseOptions, PoolSizes};
use sqlx::PgConnection;

use crate::support::ledger::TestLedger;
use crate::support::pooler::Pooler;
use crate::support::stack::shared_stack;

/// Wrong on purpose: no WHERE.
const TENANTS_SEEN: &str = "SELECT DISTINCT tenant_id FROM counterfoil.events";

/// How a request can end.
#[derive(Debug, Clone, Copy)]
enum End {
    Commit,
    Rollback,
    Error,
    Panic,
    DroppedWhileItWaits,
    StatementTimeout,
}

const ENDS: [End; 6] = [
    End::Commit,
    End::Rollback,
    End::Error,
    End::Panic,
    End::DroppedWhileItWaits,
    End::StatementTimeout,
];

/// Two tenants with events in one log.
struct Two {
    ledger: TestLedger,
    other: TenantId,
}

impl Two {
    async fn new() -> Self {
        let (ledger, other) = (TestLedger::new().await, TenantId::generate());
        ledger.create_tenant(other).await;
        for tenant in [ledger.tenant, other] {
            let request = crate::support::ledger::request(tenant, "agent", "a", 0);
            ledger.sequencer.append(request).await.unwrap();
        }
        Self { ledger, other }
    }

    /// With so many connections for requests.
    fn options(&self, app: u32) -> DatabaseOptions {
        let sizes = PoolSizes {
            app,
            log: 1,
            projector: 1,
        };
        DatabaseOptions {
            sizes,
            ..self.ledger.options.clone()
        }
    }

    fn through(&self, pooler: &Pooler, app: u32) -> DatabaseOptions {
        DatabaseOptions {
            app_pooler: Some(self.ledger.admin.clone().port(pooler.port)),
            ..self.options(app)
        }
    }
}

async fn seen(connection: &mut PgConnection) -> Vec<TenantId> {
    let seen: Vec<uuid::Uuid> = sqlx::query_scalar(TENANTS_SEEN)
        .fetch_all(connection)
        .await
        .unwrap();
    seen.into_iter().map(TenantId).collect()
}

/// What the next user of the only connection sees before anyone has said whose it is: a transaction that is rolled
/// back takes its own setting with it, and leaves what was there before.
async fn seen_by_nobody(database: &Database) -> Vec<TenantId> {
    let mut transaction = database.tenant(TenantId::generate()).await.unwrap();
    sqlx::raw_sql("ROLLBACK")
        .execute(transaction.connection())
        .await
        .unwrap();
    // One message each: outside a transaction a pooler may change sessions between two.
    let rows = sqlx::raw_sql(TENANTS_SEEN)
        .fetch_all(transaction.connection())
        .await
        .unwrap();
    use sqlx::Row as _;
    rows.iter().map(|row| TenantId(row.get(0))).collect()
}

async fn seen_by(database: &Database, tenant: TenantId) -> Vec<TenantId> {
    let mut transaction = database.tenant(tenant).await.unwrap();
    let seen = seen(transaction.connection()).await;
    transaction.commit().await.unwrap();
    seen
}

/// A request of `tenant` that ends so.
async fn request(database: &Database, tenant: TenantId, end: End) {
    let mut transaction = database.tenant(tenant).await.unwrap();
    assert_eq!(seen(transaction.connection()).await, [tenant], "{end:?}");
    match end {
        End::Commit => transaction.commit().await.unwrap(),
        End::Rollback => drop(transaction),
        End::Error => {
            let failed = sqlx::query("SELECT 1 / 0")
                .execute(transaction.connection())
                .await;
            failed.unwrap_err();
        }
        End::Panic => {
            let task = tokio::spawn(async move {
                let _held = transaction;
                panic!("a handler that panics");
            });
            assert!(task.await.unwrap_err().is_panic());
        }
        End::DroppedWhileItWaits => {
            let mut waits = Box::pin(sqlx::query("SELECT pg_sleep(0.2)").execute(transaction.connection()));
            // Polled until the statement is on its way, then dropped with its answer outstanding.
            let outcome = tokio::time::timeout(Duration::from_millis(20), &mut waits).await;
            outcome.unwrap_err();
        }
        End::StatementTimeout => {
            let connection = transaction.connection();
            let limit = "SET LOCAL statement_timeout = '20ms'";
            sqlx::raw_sql(limit).execute(&mut *connection).await.unwrap();
            let error = sqlx::query("SELECT pg_sleep(60)")
                .execute(connection)
                .await
                .unwrap_err();
            assert!(error.to_string().contains("statement timeout"), "{error}");
        }
    }
}

async fn no_end_poisons(two: &Two, database: &Database) {
    for end in ENDS {
        request(database, two.ledger.tenant, end).await;
        assert_eq!(seen_by_nobody(database).await, [], "after {end:?}");
        request(database, two.ledger.tenant, end).await;
        assert_eq!(seen_by(database, two.other).await, [two.other], "after {end:?}");
    }
}

/// The look itself works: it sees what a setting that outlives its transaction would show.
async fn a_setting_of_the_session_would_be_seen(two: &Two, database: &Database) {
    let mut transaction = database.tenant(two.ledger.tenant).await.unwrap();
    let poison =
        "SELECT set_config('counterfoil.tenant_id', current_setting('counterfoil.tenant_id'), false)";
    sqlx::raw_sql(poison)
        .execute(transaction.connection())
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(seen_by_nobody(database).await, [two.ledger.tenant]);
}

#[tokio::test]
async fn however_a_request_ends_its_connection_sees_nothing_without_a_tenant() {
    let two = Two::new().await;
    let database = Database::new(&two.options(1));
    no_end_poisons(&two, &database).await;
    a_setting_of_the_session_would_be_seen(&two, &database).await;
    database.close().await;
}

#[tokio::test]
async fn however_a_request_ends_the_session_of_a_pooler_sees_nothing_without_a_tenant() {
    let two = Two::new().await;
    let pooler = Pooler::before(shared_stack().endpoints()).await;
    let database = Database::new(&two.through(&pooler, 1));
    no_end_poisons(&two, &database).await;
    a_setting_of_the_session_would_be_seen(&two, &database).await;
    database.close().await;
}

#[tokio::test]
async fn many_connections_through_one_session_each_see_their_tenant() {
    let two = Two::new().await;
    let pooler = Pooler::before(shared_stack().endpoints()).await;
    let database = Database::new(&two.through(&pooler, 4));
    database.ping().await.unwrap();
    let requests = (0..40).map(|n| {
        let tenant = if n % 2 == 0 { two.ledger.tenant } else { two.other };
        let database = &database;
        async move { assert_eq!(seen_by(database, tenant).await, [tenant]) }
    });
    futures::future::join_all(requests).await;
    // The role's own limit: a pooler takes no settings of a session.
    let mut transaction = database.tenant(two.other).await.unwrap();
    let limit: String = sqlx::query_scalar("SHOW statement_timeout")
        .fetch_one(transaction.connection())
        .await
        .unwrap();
    assert_eq!(limit, "10s");
    transaction.commit().await.unwrap();
    database.close().await;
}
