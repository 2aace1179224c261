//! Rebuilding a read model from nothing: completions and their usage, over logs of four tenants. Beside it, what
//! cqrs-es offers for it over the same events: `QueryReplay` with `GenericQuery` and `postgres-es`'s view repository.

use std::sync::Arc;
use std::time::Instant;

use counterfoil_events::completion::{Completion, CompletionEvent};
use counterfoil_projections::completion::Completions;
use counterfoil_projections::engine::{RebuildOptions, rebuild};
use cqrs_es::persist::{GenericQuery, QueryReplay};
use cqrs_es::{EventEnvelope, View};
use postgres_es::{PostgresEventRepository, PostgresViewRepository};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::filled::fill;
use crate::options::Options;
use crate::site::{Installation, Site};
use crate::table::{Line, Table, median, rate, times};

const EVENTS: usize = 200_000;
/// As many as the peer gets through in some seconds.
const PEER_EVENTS: i64 = 6_000;
const LEAST: f64 = 100_000.0;
const LEAST_RATIO: f64 = 50.0;
/// The first of our events in the peer's own tables, keys and types as its script has them.
const PEER_TABLES: &str = "CREATE TABLE public.peer_events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, \
    sequence bigint NOT NULL, event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, \
    metadata json NOT NULL, PRIMARY KEY (aggregate_type, aggregate_id, sequence)); \
    CREATE TABLE public.peer_view (view_id text PRIMARY KEY, version bigint NOT NULL, payload json NOT NULL)";
const PEER_FILL: &str = "INSERT INTO public.peer_events SELECT aggregate_type, aggregate_id, sequence, event_type, \
    event_version, payload, metadata FROM counterfoil.cqrs_events WHERE aggregate_type = 'completion' LIMIT $1";

pub async fn measure(site: &Site, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let installation = site.installation("").await?;
    let tenants = installation.tenants(4).await?;
    let events = options.size(EVENTS);
    fill(&installation, &tenants, events).await?;
    let pool = installation.engine.database.projector();
    let mut rates = Vec::new();
    for _ in 0..options.rounds() {
        let began = Instant::now();
        rebuild(pool, &Completions, RebuildOptions::default(), &|_| ()).await?;
        rates.push(events as f64 / began.elapsed().as_secs_f64());
    }
    let ours = median(rates);
    let theirs = peer(&installation).await?;
    let ratio = ours / theirs;
    let bytes = installation.mean_bytes(tenants[0]).await?;
    table.add(
        Line::new(
            format!("rebuild of a read model, {events} events of {bytes:.0} B"),
            rate(ours),
        )
        .budget(
            format!("≥ {}, ≥ {LEAST_RATIO}× cqrs-es", rate(LEAST)),
            ours >= LEAST && ratio >= LEAST_RATIO,
        )
        .beside(format!(
            "QueryReplay + GenericQuery {} ({})",
            rate(theirs),
            times(ratio)
        )),
    );
    installation.end().await
}

/// What the peer keeps of a completion: less than our row does.
#[derive(Debug, Default, Serialize, Deserialize)]
struct PeerRow {
    model: String,
    status: String,
    input_tokens: u32,
    output_tokens: u32,
}

impl View<Completion> for PeerRow {
    fn update(&mut self, event: &EventEnvelope<Completion>) {
        match &event.payload {
            CompletionEvent::CompletionAuthorized { model, .. } => {
                self.model = model.to_string();
                self.status = "authorized".to_owned();
            }
            CompletionEvent::CompletionSettled { usage, .. } => {
                self.status = "settled".to_owned();
                self.input_tokens = usage.input_tokens;
                self.output_tokens = usage.output_tokens;
            }
            _ => {}
        }
    }
}

async fn peer(installation: &Installation) -> anyhow::Result<f64> {
    let pool: PgPool = PgPoolOptions::new().connect_with(installation.admin()).await?;
    sqlx::raw_sql(PEER_TABLES).execute(&pool).await?;
    let copied = sqlx::query(PEER_FILL)
        .bind(PEER_EVENTS)
        .execute(&pool)
        .await?
        .rows_affected();
    let events = PostgresEventRepository::new(pool.clone()).with_tables("public.peer_events", "none");
    let views = PostgresViewRepository::<PeerRow, Completion>::new("public.peer_view", pool.clone());
    let query = GenericQuery::new(Arc::new(views));
    let began = Instant::now();
    QueryReplay::<_, _, Completion>::new(events, query)
        .replay_all()
        .await?;
    let rate = copied as f64 / began.elapsed().as_secs_f64();
    let built: i64 = sqlx::query_scalar("SELECT count(*) FROM public.peer_view")
        .fetch_one(&pool)
        .await?;
    anyhow::ensure!(built > 0, "the peer built nothing");
    pool.close().await;
    Ok(rate)
}
