//! `postgres-es` with the same aggregates and events as ours, in tables made by its own script, on the same server.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::kri::aggregates::run::{KriRun, KriRunCommand, KriRunEvent};
use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore, SerializedEvent};
use cqrs_es::{Aggregate, CqrsFramework, DomainEvent};
use postgres_es::{PostgresCqrs, PostgresEventRepository};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

use crate::load::{Meter, Sample, crowd};
use crate::site::{Site, execute};
use crate::workload;

/// Its own `db/init.sql`, but for the tables of views.
const EVENTS: &str = "CREATE TABLE events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, \
                      sequence bigint CHECK (sequence >= 0) NOT NULL, event_type text NOT NULL, \
                      event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL, \
                      PRIMARY KEY (aggregate_type, aggregate_id, sequence))";
/// As its `default_postgress_pool` has it.
const CONNECTIONS: u32 = 10;

/// A database of its own.
pub struct Peer {
    login: PgConnectOptions,
    admin: PgConnectOptions,
    pub pool: PgPool,
}

impl Peer {
    pub async fn start(site: &Site) -> anyhow::Result<Self> {
        let login = site.peer_database().await?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(login.clone())
            .await?;
        sqlx::query(EVENTS).execute(&pool).await?;
        Ok(Self {
            login,
            admin: site.admin(),
            pool,
        })
    }

    /// Only its `persist`: begin, insert, commit, of events that are decided already.
    pub async fn persist(&self, tasks: usize, length: Duration) -> anyhow::Result<Sample> {
        let repository = Arc::new(PostgresEventRepository::new(self.pool.clone()));
        crowd(tasks, length, |_, meter| {
            let repository = Arc::clone(&repository);
            async move { persist_runs(&repository, meter).await }
        })
        .await
    }

    /// Its framework: load, decide, persist.
    pub async fn execute(&self, tasks: usize, length: Duration) -> anyhow::Result<Sample> {
        let store = PersistedEventStore::new_event_store(PostgresEventRepository::new(self.pool.clone()));
        let framework: Arc<PostgresCqrs<KriRun>> = Arc::new(CqrsFramework::new(store, Vec::new(), ()));
        crowd(tasks, length, |_, meter| {
            let framework = Arc::clone(&framework);
            async move { execute_runs(&framework, meter).await }
        })
        .await
    }

    /// Drops its database.
    pub async fn end(self) -> anyhow::Result<()> {
        self.pool.close().await;
        let name = self.login.get_database().unwrap_or_default();
        execute(&self.admin, format!("DROP DATABASE {name} WITH (FORCE)")).await
    }
}

async fn persist_runs(repository: &PostgresEventRepository, mut meter: Meter) -> anyhow::Result<Meter> {
    while meter.goes_on() {
        let id = Uuid::now_v7().to_string();
        let mut state = KriRun::default();
        for (place, command) in [workload::request_run()?, workload::start_run()]
            .into_iter()
            .enumerate()
        {
            meter
                .time(async {
                    let event = decide(&mut state, command).await?;
                    let event = serialized(&id, place + 1, &event)?;
                    Ok(repository.persist::<KriRun>(&[event], None).await?)
                })
                .await?;
        }
    }
    Ok(meter)
}

async fn execute_runs(framework: &PostgresCqrs<KriRun>, mut meter: Meter) -> anyhow::Result<Meter> {
    while meter.goes_on() {
        let id = Uuid::now_v7().to_string();
        for command in [workload::request_run()?, workload::start_run()] {
            let metadata = metadata();
            meter
                .time(async { Ok(framework.execute_with_metadata(&id, command, metadata).await?) })
                .await?;
        }
    }
    Ok(meter)
}

async fn decide(state: &mut KriRun, command: KriRunCommand) -> anyhow::Result<KriRunEvent> {
    let sink = cqrs_es::event_sink::EventSink::default();
    state.handle(command, &(), &sink).await?;
    let event = sink.collect().await.into_iter().next();
    event.ok_or_else(|| anyhow::anyhow!("a command without an event"))
}

fn metadata() -> HashMap<String, String> {
    let pair = |key: &str, value: String| (key.to_owned(), value);
    [
        pair("actor", "bench".to_owned()),
        pair("request_id", Uuid::now_v7().to_string()),
    ]
    .into()
}

fn serialized(id: &str, sequence: usize, event: &KriRunEvent) -> anyhow::Result<SerializedEvent> {
    Ok(SerializedEvent::new(
        id.to_owned(),
        sequence,
        KriRun::TYPE.to_owned(),
        event.event_type(),
        event.event_version(),
        serde_json::to_value(event)?,
        serde_json::to_value(metadata())?,
    ))
}
