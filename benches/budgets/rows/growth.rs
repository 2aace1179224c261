//! How rates change as one tenant's log grows: appending (64 tasks), and queries over HTTP by one client.

use std::sync::Arc;

use counterfoil_events::ids::TenantId;
use counterfoil_projections::completion::Completions;
use counterfoil_projections::engine::{RebuildOptions, rebuild};

use crate::filled::fill;
use crate::load::{Meter, Sample, crowd};
use crate::options::Options;
use crate::served::Served;
use crate::site::{Installation, Site};
use crate::table::{Line, Table, rate};
use crate::workload;

const LEAST: f64 = 0.9;

struct Level {
    events: usize,
    append: f64,
    list: Sample,
    usage: Sample,
}

pub async fn measure(site: &Site, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let sizes: &[usize] = match (options.quick, options.full) {
        (true, _) => &[2_000, 20_000],
        (false, false) => &[10_000, 100_000],
        (false, true) => &[10_000, 100_000, 1_000_000],
    };
    let installation = site.installation("").await?;
    let tenant = installation.tenants(1).await?[0];
    let mut levels: Vec<Level> = Vec::new();
    for &events in sizes {
        let have = head(&installation, tenant).await?;
        fill(&installation, &[tenant], events.saturating_sub(have)).await?;
        let mut level = look(&installation, tenant, options).await?;
        report(&mut level, levels.last(), table);
        levels.push(level);
    }
    installation.end().await
}

fn report(level: &mut Level, before: Option<&Level>, table: &mut Table) {
    let (list, usage) = (level.list.rate(), level.usage.rate());
    let line = Line::new(
        format!("growth: at {} events", level.events),
        format!(
            "append {}; list {} ({}); usage {}",
            rate(level.append),
            rate(list),
            level.list.latency(),
            rate(usage)
        ),
    );
    table.add(match before {
        Some(before) => {
            let kept = [
                level.append / before.append,
                list / before.list.rate(),
                usage / before.usage.rate(),
            ];
            let least = kept.iter().copied().fold(f64::INFINITY, f64::min);
            let kept = kept.map(|kept| format!("{:.0} %", 100.0 * kept)).join(", ");
            line.budget("≥ 90 % of the rates before", least >= LEAST)
                .beside(format!("{kept} of those at {}", before.events))
        }
        None => line,
    });
}

async fn head(installation: &Installation, tenant: TenantId) -> anyhow::Result<usize> {
    let head = installation
        .engine
        .commands
        .sequencer
        .reader()
        .head(tenant)
        .await?;
    Ok(head.map_or(0, |found| {
        usize::try_from(found.head.position.0).unwrap_or(usize::MAX)
    }))
}

async fn look(installation: &Installation, tenant: TenantId, options: &Options) -> anyhow::Result<Level> {
    let events = head(installation, tenant).await?;
    rebuild(
        installation.engine.database.projector(),
        &Completions,
        RebuildOptions::default(),
        &|_| (),
    )
    .await?;
    let served = Served::start(installation, "api").await?;
    let list = ask(
        &served,
        &format!("GET /v1/tenants/{tenant}/completions?limit=50"),
        options,
    )
    .await?;
    let usage = ask(
        &served,
        &format!("GET /v1/tenants/{tenant}/usage?limit=50"),
        options,
    )
    .await?;
    served.stop().await?;
    let commands = &installation.engine.commands;
    let append = crowd(64, options.length(), |_, meter| {
        let commands = Arc::clone(commands);
        async move { workload::completions(&commands, tenant, meter).await }
    })
    .await?;
    Ok(Level {
        events,
        append: append.rate(),
        list,
        usage,
    })
}

async fn ask(served: &Served, what: &str, options: &Options) -> anyhow::Result<Sample> {
    let began = std::time::Instant::now();
    let mut client = served.client().await?;
    let mut meter = Meter::new(options.length() / 2);
    while meter.goes_on() {
        meter
            .time(async {
                let reply = client.send(what, None, "").await?;
                anyhow::ensure!(reply.status == 200, "{}", String::from_utf8_lossy(reply.body));
                Ok(())
            })
            .await?;
    }
    Ok(Sample {
        elapsed_s: began.elapsed().as_secs_f64(),
        ..meter.sample()
    })
}
