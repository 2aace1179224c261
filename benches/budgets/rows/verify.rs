//! `audit verify` over Postgres: hash chain, columns, sequences and every signature, or all but the signatures.

use counterfoil::audit::{Keys, PostgresAudit, Scope};
use counterfoil_events::ids::Position;
use counterfoil_events::verify;

use crate::filled::fill;
use crate::options::Options;
use crate::site::{Installation, Site};
use crate::table::{Line, Table, median, rate};

const EVENTS: usize = 200_000;
const LEAST: [(bool, f64); 2] = [(true, 80_000.0), (false, 300_000.0)];

pub async fn measure(site: &Site, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let installation = site.installation("").await?;
    let tenants = installation.tenants(4).await?;
    let events = options.size(EVENTS);
    fill(&installation, &tenants, events).await?;
    let bytes = installation.mean_bytes(tenants[0]).await?;
    for (signatures, least) in LEAST {
        let mut rates = Vec::new();
        for _ in 0..options.rounds() {
            rates.push(audit(&installation, signatures).await?);
        }
        let ours = median(rates);
        let what = if signatures {
            "chain and every signature"
        } else {
            "chain only"
        };
        table.add(
            Line::new(
                format!("verify, {what}, {events} events of {bytes:.0} B"),
                rate(ours),
            )
            .budget(format!("≥ {}", rate(least)), ours >= least),
        );
    }
    installation.end().await
}

async fn audit(installation: &Installation, signatures: bool) -> anyhow::Result<f64> {
    let pool = installation.engine.database.log();
    let keys = Keys::from_postgres(pool, Some(installation.fingerprint)).await?;
    let scope = Scope {
        tenant: None,
        from: Position(1),
        options: verify::Options {
            signatures,
            ..verify::Options::default()
        },
        head_notes: Vec::new(),
    };
    let summary = PostgresAudit::new(pool.clone(), keys, scope).run(&()).await?;
    anyhow::ensure!(summary.findings.is_empty(), "{:?}", summary.findings);
    Ok(summary.events_per_second)
}
