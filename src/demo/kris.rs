//! Step 3: three KRIs of three tenants. Each series is one CSV source; its history is loaded by ordinary runs, each as
//! of its own day, and the newest value by a run as of now.

use std::time::{Duration, Instant};

use chrono::{Days, NaiveDate, Utc};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::{Committed, LogReader};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::client::{Client, DemoError, text};
use super::world::{Tenant, World};

const KRIS: &str = include_str!("../../fixtures/kri/kris.json");
/// How many KRIs there are in `fixtures/kri/kris.json`.
pub(super) const COUNT: usize = 3;
/// Points of history per series, besides the newest value.
const HISTORY: usize = 9;
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);
const NOTICE_PAUSE: Duration = Duration::from_millis(10);

macro_rules! series {
    ($($kri:literal / $tenant:literal),+ $(,)?) => {
        &[$(($kri, $tenant, include_str!(concat!("../../fixtures/kri/", $kri, "/", $tenant, ".csv")))),+]
    };
}

const SERIES: &[(&str, &str, &str)] = series![
    "failed_settlement_rate" / "harbour",
    "failed_settlement_rate" / "meadow",
    "failed_settlement_rate" / "summit",
    "model_override_rate" / "harbour",
    "model_override_rate" / "meadow",
    "model_override_rate" / "summit",
    "open_incident_age" / "harbour",
    "open_incident_age" / "meadow",
    "open_incident_age" / "summit",
];

#[derive(Deserialize)]
struct Fixture {
    as_of: NaiveDate,
    kris: Vec<Kri>,
}

#[derive(Deserialize)]
struct Kri {
    key: String,
    name: String,
    unit: String,
    bands: Value,
    schedule: Value,
    source: Value,
}

/// Defines, configures, asks for runs, and waits until all have ended; answers how many there were.
pub(super) async fn measure(
    client: &Client,
    world: &World,
    reader: &LogReader,
    notices: broadcast::Receiver<Committed>,
) -> Result<usize, DemoError> {
    let fixture: Fixture = serde_json::from_str(KRIS)
        .map_err(|error| DemoError::Shape(format!("fixtures/kri/kris.json: {error}")))?;
    // The fixtures end on a day of their own; they are moved by whole days so that they end today.
    let today = Utc::now().date_naive();
    let shift = Days::new(u64::try_from((today - fixture.as_of).num_days()).unwrap_or(0));
    let mut runs = 0;
    for tenant in &world.tenants {
        for kri in &fixture.kris {
            runs += measure_one(client, tenant, kri, shift).await?;
        }
    }
    wait(reader, world, runs, notices).await?;
    Ok(runs)
}

async fn measure_one(client: &Client, tenant: &Tenant, kri: &Kri, shift: Days) -> Result<usize, DemoError> {
    let base = format!("/v1/tenants/{}", tenant.id);
    let definition =
        json!({"name": kri.name, "unit": kri.unit, "bands": kri.bands, "schedule": kri.schedule});
    client
        .post(
            &format!("{base}/kris"),
            &json!({"id": kri.key, "definition": definition}),
        )
        .await?;
    let (table, dates) = shifted(series(&kri.key, tenant.name)?, shift)?;
    let mut config = kri.source.clone();
    config["kind"] = json!("csv");
    config["text"] = json!(table);
    let source = client
        .post(
            &format!("{base}/kri-sources"),
            &json!({"kri": kri.key, "config": config}),
        )
        .await?;
    let path = format!("{base}/kri-sources/{}/runs", text(&source, "id")?);
    let step = (dates.len() / HISTORY).max(1);
    let history: Vec<_> = dates.iter().step_by(step).collect();
    for date in &history {
        client
            .post(&path, &json!({"measured_at": format!("{date}T00:00:00.000000Z")}))
            .await?;
    }
    client.post(&path, &json!({})).await?;
    Ok(history.len() + 1)
}

fn series(kri: &str, tenant: &str) -> Result<&'static str, DemoError> {
    let found = SERIES
        .iter()
        .find(|(of_kri, of_tenant, _)| *of_kri == kri && *of_tenant == tenant);
    found
        .map(|(_, _, table)| *table)
        .ok_or_else(|| DemoError::Shape(format!("no series of {kri} for {tenant}")))
}

/// The table with its first column, the date, moved by whole days; and the dates.
fn shifted(table: &str, shift: Days) -> Result<(String, Vec<NaiveDate>), DemoError> {
    let mut lines = table.lines();
    let heading = lines.next().unwrap_or_default();
    let mut moved = format!("{heading}\n");
    let mut dates = Vec::new();
    for line in lines {
        let (date, rest) = line.split_once(',').unwrap_or((line, ""));
        let date: NaiveDate = date
            .parse()
            .map_err(|error| DemoError::Shape(format!("fixture date {date}: {error}")))?;
        let date = date + shift;
        moved.push_str(&format!("{date},{rest}\n"));
        dates.push(date);
    }
    Ok((moved, dates))
}

/// Reads the log itself until every run has ended; returns soon after the last of them has.
async fn wait(
    reader: &LogReader,
    world: &World,
    runs: usize,
    mut notices: broadcast::Receiver<Committed>,
) -> Result<(), DemoError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut ended = 0;
        for tenant in &world.tenants {
            let tenant: TenantId = tenant
                .id
                .parse()
                .map_err(|error| DemoError::Shape(format!("tenant id: {error}")))?;
            let until = Position(i64::MAX as u64);
            let events = reader.kri_runs(tenant, Position::ZERO, until, 10_000).await?;
            ended += events
                .iter()
                .filter(|event| matches!(event.event_type.as_str(), "KriRunCompleted" | "KriRunFailed"))
                .count();
        }
        if ended >= runs {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(DemoError::RunsOpen(runs - ended));
        }
        // Several commits are looked at together. A notice that was missed is made up for by the next look.
        let _ = tokio::time::timeout(LOOK, notices.recv()).await;
        tokio::time::sleep(NOTICE_PAUSE).await;
        notices = notices.resubscribe();
    }
}
