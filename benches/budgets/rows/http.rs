//! Commands over HTTP to the real program: agents registered and suspended in turns, each command with an
//! Idempotency-Key. The load comes from a process of its own with one thread and a client that does next to nothing;
//! it has to share the processors all the same.

use crate::options::Options;
use crate::served::{Served, tenant};
use crate::site::Site;
use crate::table::{Line, Table, rate};
use crate::worker::{Role, Worker};

const CONNECTIONS: usize = 64;
const LEAST: f64 = 8_000.0;
const P50_MS: f64 = 1.5;
const P99_MS: f64 = 5.0;

pub async fn measure(site: &Site, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let installation = site.installation("").await?;
    let served = Served::start(&installation, "").await?;
    let tenant = tenant(&mut served.client().await?).await?;
    let load = async |connections, length| {
        let mut worker = Worker::start(&Role::Agents {
            address: served.address,
            tenant: tenant.clone(),
            connections,
            length,
        })
        .await?;
        worker.begin().await?;
        worker.end().await
    };
    let mut alone = load(1, options.length()).await?;
    let (p50, p99) = (alone.percentile(50.0), alone.percentile(99.0));
    table.add(
        Line::new("HTTP command, 1 client", format!("p50 {p50:.2}, p99 {p99:.2} ms"))
            .budget(
                format!("≤ {P50_MS} / ≤ {P99_MS} ms"),
                p50 <= P50_MS && p99 <= P99_MS,
            )
            .beside(rate(alone.rate())),
    );
    load(CONNECTIONS, std::time::Duration::from_secs(1)).await?;
    let mut crowd = load(CONNECTIONS, options.length()).await?;
    table.add(
        Line::new(
            format!("commands over HTTP, {CONNECTIONS} connections, 1 tenant"),
            format!("{}, {}", rate(crowd.rate()), crowd.latency()),
        )
        .budget(format!("≥ {}", rate(LEAST)), crowd.rate() >= LEAST)
        .beside("relay, projector and load generator on the same processors"),
    );
    served.stop().await?;
    installation.end().await
}
