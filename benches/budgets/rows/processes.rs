//! Two processes that write to one tenant's log: they share its head, and neither may starve.

use counterfoil_events::ids::TenantId;

use crate::options::Options;
use crate::site::{Installation, Site};
use crate::table::{Line, Table, rate};
use crate::worker::{Role, Worker};

const TASKS: usize = 32;
const LEAST: f64 = 0.6;

pub async fn measure(site: &Site, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let installation = site.installation("").await?;
    let tenant = installation.tenants(1).await?[0];
    // As many tasks in all, so that only the number of processes differs.
    let alone = rates(&installation, tenant, &[2 * TASKS], options).await?;
    let both = rates(&installation, tenant, &[TASKS, TASKS], options).await?;
    let (one, two) = (alone.iter().sum::<f64>(), both.iter().sum::<f64>());
    let share = both.iter().copied().fold(f64::INFINITY, f64::min) / two;
    let ours = format!(
        "{} ({:.0} %), the slower one {:.0} % of it",
        rate(two),
        100.0 * two / one,
        100.0 * share
    );
    table.add(
        Line::new(format!("two processes on one tenant, {TASKS} tasks each"), ours)
            .budget(
                "≥ 60 % of one process, no starvation",
                two >= LEAST * one && share >= 0.2,
            )
            .beside(format!("one process, {} tasks: {}", 2 * TASKS, rate(one))),
    );
    installation.end().await
}

async fn rates(
    installation: &Installation,
    tenant: TenantId,
    tasks: &[usize],
    options: &Options,
) -> anyhow::Result<Vec<f64>> {
    let mut workers = Vec::new();
    for &tasks in tasks {
        let role = Role::Append {
            config: installation.file.clone(),
            tenant,
            tasks,
            length: options.length(),
        };
        workers.push(Worker::start(&role).await?);
    }
    for worker in &mut workers {
        worker.begin().await?;
    }
    let mut rates = Vec::new();
    for worker in workers {
        rates.push(worker.end().await?.rate());
    }
    Ok(rates)
}
