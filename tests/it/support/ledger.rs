//! A log of one's own for a test: a fresh database on the shared stack, made as `counterfoil init` makes it, with a
//! sequencer and one tenant. [`TestLedger::verify`] is what every test that wrote events ends with.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use counterfoil::init::{Logins, introduce_first_key, migrate, prepare_cluster};
use counterfoil_events::actor::Actor;
use counterfoil_events::ids::{Position, Sequence, TenantId};
use counterfoil_events::ledger::{
    AggregateAppend, AppendRequest, Database, DatabaseOptions, IdempotencyClaim, LogReader, NewEvent,
    NewHead, PoolSizes, RoleLogin, Sequencer, SequencerOptions, StoredEvent,
};
use counterfoil_events::signature::KeyPair;
use counterfoil_events::timestamp::{Clock, SystemClock};
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;

use super::stack::shared_stack;

/// The roles' password in tests. The servers listen on loopback and live as long as the test run.
pub const PASSWORD: &str = "only-for-tests";

/// A log with one tenant besides the platform's.
pub struct TestLedger {
    pub admin: PgConnectOptions,
    pub options: DatabaseOptions,
    pub database: Database,
    pub sequencer: Sequencer,
    pub reader: LogReader,
    pub tenant: TenantId,
}

impl TestLedger {
    pub async fn new() -> Self {
        Self::on(shared_stack().endpoints().postgres_admin(), Arc::new(SystemClock)).await
    }

    pub async fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::on(shared_stack().endpoints().postgres_admin(), clock).await
    }

    /// On the cluster that `admin` administers.
    pub async fn on(admin: PgConnectOptions, clock: Arc<dyn Clock>) -> Self {
        let ledger = Self::bare(admin, clock).await;
        ledger.create_tenant(ledger.tenant).await;
        ledger
    }

    /// With nothing but the first key in it; its tenant does not exist. For whatever reads only events that this
    /// build knows.
    pub async fn bare(admin: PgConnectOptions, clock: Arc<dyn Clock>) -> Self {
        let database = unique_name();
        prepare_cluster(&admin, &database, &logins()).await.unwrap();
        let server = admin.clone().database(&database);
        migrate(&server.clone().username("counterfoil_owner").password(PASSWORD))
            .await
            .unwrap();
        let options = database_options(server.clone());
        let database = Database::new(&options);
        let signer = Arc::new(KeyPair::from_seed(&[7; 32]));
        let sequencer = Sequencer::new(database.clone(), signer, clock, SequencerOptions::default());
        introduce_first_key(&sequencer).await.unwrap();
        let reader = LogReader::new(database.log().clone());
        Self {
            admin: server,
            options,
            database,
            sequencer,
            reader,
            tenant: TenantId::generate(),
        }
    }

    /// Another process's sequencer on the same database.
    pub fn another_sequencer(&self) -> Sequencer {
        self.sequencer_on(&self.options)
    }

    pub fn sequencer_on(&self, options: &DatabaseOptions) -> Sequencer {
        let signer = Arc::new(KeyPair::from_seed(&[7; 32]));
        Sequencer::new(
            Database::new(options),
            signer,
            Arc::new(SystemClock),
            SequencerOptions::default(),
        )
    }

    pub async fn create_tenant(&self, tenant: TenantId) {
        let mut request = request(TenantId::PLATFORM, "tenant", &tenant.to_string(), 0);
        request.new_heads = vec![NewHead { tenant, partition: 0 }];
        self.sequencer.append(request).await.unwrap();
    }

    pub async fn events(&self, tenant: TenantId) -> Vec<StoredEvent> {
        self.reader
            .page(tenant, Position::ZERO, Position(i64::MAX as u64), 1_000_000)
            .await
            .unwrap()
    }

    /// Checks I2 and I3 over every log of this database; answers how many events there are.
    pub async fn verify(&self) -> usize {
        super::invariants::verify(&self.reader).await
    }
}

pub fn logins() -> Logins {
    let password = || SecretString::from(PASSWORD);
    Logins {
        owner: password(),
        app: password(),
        reader: password(),
        log: password(),
        projector: password(),
    }
}

pub fn database_options(server: PgConnectOptions) -> DatabaseOptions {
    let login = |user: &str| RoleLogin {
        user: user.to_owned(),
        password: Some(PASSWORD.to_owned()),
    };
    DatabaseOptions {
        server,
        app_pooler: None,
        app: login("counterfoil_app"),
        log: login("counterfoil_log"),
        projector: login("counterfoil_projector"),
        // Many tests share one server: its 200 connections must do for all of them.
        sizes: PoolSizes {
            app: 3,
            log: 4,
            projector: 3,
        },
    }
}

pub fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!(
        "t{}_{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// One event for an aggregate at `expected`, of a type that only tests write.
pub fn request(tenant: TenantId, aggregate: &'static str, id: &str, expected: u64) -> AppendRequest {
    AppendRequest {
        tenant,
        actor: Actor::system("test"),
        request_id: uuid::Uuid::now_v7().to_string(),
        traceparent: None,
        causation: None,
        parts: vec![AggregateAppend {
            aggregate: aggregate.into(),
            aggregate_id: id.to_owned(),
            expected: Sequence(expected),
            events: vec![event(r#"{"note":"x"}"#)],
        }],
        documents: Vec::new(),
        idempotency: None,
        new_heads: Vec::new(),
    }
}

pub fn event(payload: &str) -> NewEvent {
    NewEvent {
        event_type: "TestHappened".into(),
        version: "1.0".into(),
        payload: serde_json::value::RawValue::from_string(payload.to_owned()).unwrap(),
    }
}

pub fn with_key(mut request: AppendRequest, key: &str, body: &str) -> AppendRequest {
    request.idempotency = Some(IdempotencyClaim::new("test", "/test", key, body.as_bytes()));
    request
}
