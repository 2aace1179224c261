//! Step 4: what came of it, so that a person understands it at once.

use std::time::{Duration, Instant};

use counterfoil_events::ids::Position;
use counterfoil_events::ledger::LogReader;
use counterfoil_events::verify::Options;
use counterfoil_projections::engine;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::client::{Client, DemoError};
use super::prompts::Tally;
use super::world::{self, World};
use crate::audit::{Keys, PostgresAudit, Scope};
use crate::up::Up;

/// Longest wait for the read models; they are usually done within milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// What stands in the log now, whenever it came there.
pub(super) async fn print_state(client: &Client, up: &Up, world: &World) -> Result<(), DemoError> {
    print_rollups(world, &world::rollups(client, &world.carrier).await?);
    print_verdict(up).await?;
    print_next(client, up, world);
    Ok(())
}

/// How long the read models take from now on to reach the heads of all logs.
pub(super) async fn wait_for_read_models(up: &Up) -> Result<Duration, DemoError> {
    let database = up.process.parts().database();
    let reader = LogReader::new(database.log().clone());
    let begun = Instant::now();
    let room = engine::WaitingRoom::start(database, 1);
    for head in reader.heads().await? {
        let wait = engine::WaitFor {
            tenant: head.tenant,
            position: head.head.position,
        };
        for projection in counterfoil_projections::all() {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            room.wait(head.tenant, projection.name(), wait, deadline).await?;
        }
    }
    room.stop().await;
    Ok(begun.elapsed())
}

pub(super) fn print_completions(tally: &Tally) {
    let total = tally.allowed + tally.denied_total();
    println!(
        "\nCompletions: {total} asked for, {} allowed ({} streamed), {} denied, in {:.1} s",
        tally.allowed,
        tally.streamed,
        tally.denied_total(),
        tally.elapsed.as_secs_f64()
    );
    for (reason, count) in &tally.denied {
        println!("  {count:>4}  {reason}");
    }
}

fn print_rollups(world: &World, rollups: &Value) {
    println!(
        "\nCarrier rollup ({}, {} tenants)",
        world::CARRIER,
        world.tenants.len()
    );
    println!(
        "  {:<26} {:>5} {:>5} {:>3} {:>5}  {:<18} {:>8} {:>8} {:>8}  {:<10}  {:<5} unit",
        "KRI", "green", "amber", "red", "stale", "worst", "weighted", "median", "coverage", "trend", "worse"
    );
    for item in rollups["items"].as_array().into_iter().flatten() {
        let figures = &item["statistics"];
        let count = |status: &str| figures["statuses"][status].as_u64().unwrap_or(0);
        println!(
            "  {:<26} {:>5} {:>5} {:>3} {:>5}  {:<18} {:>8} {:>8} {:>8}  {:<10}  {:<5} {}",
            short(&item["kri"], 26),
            count("green"),
            count("amber"),
            count("red"),
            count("stale"),
            worst(world, &figures["worst"]),
            short(&figures["weighted_mean"], 8),
            short(&figures["median"], 8),
            short(&figures["coverage"], 6),
            short(&figures["trend"], 10),
            worse(&item["direction"]),
            short(&item["unit"], 24),
        );
    }
}

/// Which way it gets worse.
fn worse(direction: &Value) -> &'static str {
    match direction.as_str() {
        Some("higher_is_worse") => "up",
        Some("lower_is_worse") => "down",
        Some("two_sided") => "both",
        _ => "–",
    }
}

fn worst(world: &World, worst: &Value) -> String {
    let tenant = world
        .tenants
        .iter()
        .find(|tenant| worst["key"] == tenant.id.as_str());
    match tenant {
        Some(tenant) => format!("{} {}", tenant.name, short(&worst["value"], 8)),
        None => "–".to_owned(),
    }
}

fn short(value: &Value, chars: usize) -> String {
    value
        .as_str()
        .map_or_else(|| "–".to_owned(), |text| text.chars().take(chars).collect())
}

async fn print_verdict(up: &Up) -> Result<(), DemoError> {
    let verify = |error: &dyn std::fmt::Display| DemoError::Verify(error.to_string());
    let pool = up.process.parts().database().log().clone();
    let keys = Keys::from_postgres(&pool, Some(up.fingerprint))
        .await
        .map_err(|error| verify(&error))?;
    let scope = Scope {
        tenant: None,
        from: Position(1),
        options: Options::default(),
        head_notes: Vec::new(),
    };
    let summary = PostgresAudit::new(pool, keys, scope)
        .run(&())
        .await
        .map_err(|error| verify(&error))?;
    let verdict = match summary.findings.is_empty() {
        true => "every byte as it was signed".to_owned(),
        false => format!(
            "{} FINDINGS: run `counterfoil audit verify`",
            summary.findings.total()
        ),
    };
    println!(
        "\nVerifier: {} events in {} logs, {:.0} events/s: {verdict}",
        summary.events,
        summary.logs.len(),
        summary.events_per_second
    );
    Ok(())
}

fn print_next(client: &Client, up: &Up, world: &World) {
    let (base, token) = (client.base(), up.token.expose_secret());
    let tenant = &world.tenants[0].id;
    println!(
        "\nTry next:\n  curl -s {base}/ready\n  curl -s {base}/v1/carriers/{}/rollups -H 'Authorization: Bearer {token}'\n  \
         curl -s {base}/v1/tenants/{tenant}/usage -H 'Authorization: Bearer {token}'\n",
        world.carrier,
    );
}
