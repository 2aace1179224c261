//! Appending through the command path: load from the cache, decide, chain, sign, commit, each command with an
//! Idempotency-Key; one on a new aggregate and one on it as it then is, in turns. Beside it `postgres-es` on the same
//! server, at the same concurrency, with the same events, in turns with ours; it neither chains nor signs.

use std::sync::Arc;
use std::time::Duration;

use counterfoil::commands::Commands;
use counterfoil_events::ids::TenantId;

use super::peer::Peer;
use crate::load::{Meter, Sample, crowd};
use crate::options::Options;
use crate::site::Site;
use crate::table::{Line, Table, median, rate, times};
use crate::workload;

/// Tasks, tenants, and the least rate.
const CROWDS: [(usize, usize, f64); 2] = [(64, 1, 20_000.0), (256, 8, 27_000.0)];
const LEAST_RATIO: f64 = 3.5;

pub async fn measure(site: &Site, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    for (tasks, tenants, least) in CROWDS {
        beside_peer(site, options, table, (tasks, tenants, least)).await?;
    }
    completions(site, options, table).await
}

async fn beside_peer(
    site: &Site,
    options: &Options,
    table: &mut Table,
    (tasks, tenants, least): (usize, usize, f64),
) -> anyhow::Result<()> {
    let installation = site.installation("").await?;
    let peer = Peer::start(site).await?;
    let tenants = installation.tenants(tenants).await?;
    let commands = &installation.engine.commands;
    let warm = Duration::from_secs(1);
    ours(commands, &tenants, tasks, warm).await?;
    peer.persist(tasks, warm).await?;
    let (mut rates, mut persisted, mut framework) = (Vec::new(), Vec::new(), Vec::new());
    let (mut sample, mut theirs) = (Sample::default(), Sample::default());
    for _ in 0..options.rounds() {
        sample = ours(commands, &tenants, tasks, options.length()).await?;
        rates.push(sample.rate());
        theirs = peer.persist(tasks, options.length()).await?;
        persisted.push(theirs.rate());
        framework.push(peer.execute(tasks, options.length()).await?.rate());
    }
    let (ours, persisted, framework) = (median(rates), median(persisted), median(framework));
    let ratio = ours / persisted;
    let bytes = installation.mean_bytes(tenants[0]).await?;
    let what = format!("append, {tasks} tasks, {} tenants, {bytes:.0} B", tenants.len());
    table.add(
        Line::new(
            what,
            format!(
                "{}, {}, {:.0} µs CPU each",
                rate(ours),
                sample.latency(),
                sample.cpu_micros
            ),
        )
        .budget(
            format!("≥ {}, ≥ {LEAST_RATIO}× postgres-es", rate(least)),
            ours >= least && ratio >= LEAST_RATIO,
        )
        .beside(format!(
            "postgres-es persist {} ({}), {:.0} µs CPU; its framework {} ({})",
            rate(persisted),
            times(ratio),
            theirs.cpu_micros,
            rate(framework),
            times(ours / framework)
        )),
    );
    peer.end().await?;
    installation.end().await
}

async fn ours(
    commands: &Arc<Commands>,
    tenants: &[TenantId],
    tasks: usize,
    length: Duration,
) -> anyhow::Result<Sample> {
    crowd(tasks, length, |task, meter: Meter| {
        let (commands, tenant) = (Arc::clone(commands), tenants[task % tenants.len()]);
        async move { workload::runs(&commands, tenant, meter).await }
    })
    .await
}

async fn completions(site: &Site, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let installation = site.installation("").await?;
    let tenant = installation.tenants(1).await?[0];
    let commands = &installation.engine.commands;
    let mut sample = crowd(64, options.length(), |_, meter| {
        let commands = Arc::clone(commands);
        async move { workload::completions(&commands, tenant, meter).await }
    })
    .await?;
    let bytes = installation.mean_bytes(tenant).await?;
    let ours = format!(
        "{}, {}, {:.0} µs CPU each",
        rate(sample.rate()),
        sample.latency(),
        sample.cpu_micros
    );
    table.add(Line::new(
        format!("the same with completions' events, 64 tasks, 1 tenant, {bytes:.0} B"),
        ours,
    ));
    installation.end().await
}
