//! What the load generators do over HTTP, on one thread each.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use uuid::Uuid;

use crate::http::Client;
use crate::load::Meter;
use crate::served::card;
use crate::site::TOKEN;

const REASON: &str = r#"{"reason":"bench"}"#;

/// Registers and suspends agents until the time is over.
pub async fn register_and_suspend(
    address: SocketAddr,
    tenant: String,
    mut meter: Meter,
) -> anyhow::Result<Meter> {
    let mut client = Client::connect(address, TOKEN).await?;
    let agents = format!("POST /v1/tenants/{tenant}/agents");
    let card = card().to_string();
    while meter.goes_on() {
        let agent = command(&mut client, &mut meter, &agents, &card).await?;
        command(
            &mut client,
            &mut meter,
            &format!("{agents}/{agent}/suspend"),
            REASON,
        )
        .await?;
    }
    Ok(meter)
}

/// Suspends and resumes one agent, `per_s` times a second.
pub async fn to_and_fro(
    address: SocketAddr,
    tenant: String,
    per_s: f64,
    mut meter: Meter,
) -> anyhow::Result<Meter> {
    let mut client = Client::connect(address, TOKEN).await?;
    let agents = format!("POST /v1/tenants/{tenant}/agents");
    let agent = client.send(&agents, None, &card().to_string()).await?.id()?;
    let pause = Duration::from_secs_f64(1.0 / per_s);
    let mut ticks = interval_at(Instant::now() + pause, pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while meter.goes_on() {
        for (verb, body) in [("suspend", REASON), ("resume", "")] {
            ticks.tick().await;
            command(&mut client, &mut meter, &format!("{agents}/{agent}/{verb}"), body).await?;
        }
    }
    Ok(meter)
}

async fn command(client: &mut Client, meter: &mut Meter, what: &str, body: &str) -> anyhow::Result<String> {
    let key = Uuid::now_v7().to_string();
    meter
        .time(async { client.send(what, Some(&key), body).await?.id() })
        .await
}
