//! Memory of the real program with all roles: idle, and while agents are suspended and resumed at a steady pace.

use std::time::Duration;

use crate::options::Options;
use crate::served::{Served, tenant};
use crate::site::Site;
use crate::table::{Line, Table};
use crate::worker::{Role, Worker};

const PACE_PER_S: u32 = 2_000;
const CONNECTIONS: usize = 32;
const IDLE_MIB: f64 = 64.0;
const BUSY_MIB: f64 = 256.0;

pub async fn measure(site: &Site, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let installation = site.installation("").await?;
    let served = Served::start(&installation, "").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle = served.memory_mib()?;
    let minutes = Duration::from_secs(if options.full {
        120
    } else {
        options.size(60) as u64
    });
    let mut worker = Worker::start(&Role::Paced {
        address: served.address,
        tenant: tenant(&mut served.client().await?).await?,
        connections: CONNECTIONS,
        per_s: PACE_PER_S,
        length: minutes,
    })
    .await?;
    worker.begin().await?;
    let mut seen = Vec::new();
    for _ in 0..20 {
        tokio::time::sleep(minutes / 20).await;
        seen.push(served.memory_mib()?);
    }
    let mut sample = worker.end().await?;
    let most = seen.iter().copied().fold(0.0, f64::max);
    let thirds = |from: usize| seen[from..from + 5].iter().sum::<f64>() / 5.0;
    table.add(
        Line::new("memory of our process, idle", format!("{idle:.0} MiB"))
            .budget(format!("≤ {IDLE_MIB} MiB"), idle <= IDLE_MIB),
    );
    table.add(
        Line::new(
            format!("memory at {:.1} k events/s", sample.rate() / 1000.0),
            format!(
                "{most:.0} MiB at most; {:.0} in the second quarter, {:.0} in the last",
                thirds(5),
                thirds(15)
            ),
        )
        .budget(format!("≤ {BUSY_MIB} MiB, flat"), most <= BUSY_MIB)
        .beside(format!("over {} s; {}", minutes.as_secs(), sample.latency())),
    );
    served.stop().await?;
    installation.end().await
}
