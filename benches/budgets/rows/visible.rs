//! How long after a command was sent its event is visible in a read model, at a steady pace: the command path, the
//! relay, JetStream, the security state and the projector all run in this process, as `serve` runs them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use counterfoil::commands::Commands;
use counterfoil::serve::Process;
use counterfoil_events::command::Target;
use counterfoil_events::ids::{Position, TenantId};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::load::{Meter, Sample, crowd};
use crate::options::Options;
use crate::site::Site;
use crate::table::{Line, Table, rate};
use crate::workload;

const PER_S: f64 = 2_000.0;
const TASKS: usize = 40;
const P99_MS: f64 = 50.0;
/// How often the cursor is looked at: what this adds to a figure is part of it.
const LOOK: Duration = Duration::from_millis(1);
const CURSOR: &str = "SELECT c.position FROM counterfoil.projection_cursors c \
                      JOIN counterfoil.projection_versions v USING (projection, version) \
                      WHERE c.tenant_id = $1 AND c.projection = 'completion' AND v.state = 'live'";

/// When commands were sent, by the position that their event got.
type Sent = Arc<Mutex<Vec<(u64, Instant)>>>;

pub async fn measure(site: &Site, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let installation = site.installation("").await?;
    let tenant = installation.tenants(1).await?[0];
    let process = Process::start(&installation.config).await?;
    let commands = Arc::clone(process.parts().commands());
    let pool = process.parts().database().projector().clone();
    let mut sample = Sample::default();
    let mut visible = Sample::default();
    // First a while that does not count.
    for length in [Duration::from_secs(3), options.length() * 2] {
        (sample, visible) = paced(&commands, &pool, tenant, length).await?;
    }
    let p99 = visible.percentile(99.0);
    table.add(
        Line::new(
            format!("append → visible in a read model, at {}", rate(sample.rate())),
            format!("{}, p99.9 {:.0} ms", visible.latency(), visible.percentile(99.9)),
        )
        .budget(format!("p99 ≤ {P99_MS} ms"), p99 <= P99_MS)
        .beside(format!("until it was durable: {}", sample.latency())),
    );
    process.stop().await;
    installation.end().await
}

/// Sends at a steady pace; answers how long each command took, and how long until it was visible.
async fn paced(
    commands: &Arc<Commands>,
    pool: &PgPool,
    tenant: TenantId,
    length: Duration,
) -> anyhow::Result<(Sample, Sample)> {
    let sent = Sent::default();
    let stop = CancellationToken::new();
    let looking = tokio::spawn(look(pool.clone(), tenant, stop.clone()));
    let durable = crowd(TASKS, length, |task, meter| {
        send(Arc::clone(commands), tenant, task, meter, Arc::clone(&sent))
    })
    .await?;
    // What was sent last becomes visible too.
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    let seen = looking.await??;
    let sent = std::mem::take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner));
    let mut visible = Meter::new(Duration::ZERO);
    for (position, at) in sent {
        let first = seen.partition_point(|(cursor, _)| cursor.0 < position);
        let (_, when) = seen
            .get(first)
            .ok_or_else(|| anyhow::anyhow!("position {position} never became visible"))?;
        visible.took(when.saturating_duration_since(at));
    }
    Ok((durable, visible.sample()))
}

/// Where the cursor stood when: in order, since it only moves on.
async fn look(
    pool: PgPool,
    tenant: TenantId,
    stop: CancellationToken,
) -> anyhow::Result<Vec<(Position, Instant)>> {
    let mut seen = Vec::new();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !stop.is_cancelled() {
        ticks.tick().await;
        let at: Option<i64> = sqlx::query_scalar(CURSOR)
            .bind(tenant.0)
            .fetch_optional(&pool)
            .await?;
        seen.push((Position::from_i64(at.unwrap_or_default()), Instant::now()));
    }
    Ok(seen)
}

async fn send(
    commands: Arc<Commands>,
    tenant: TenantId,
    task: usize,
    mut meter: Meter,
    sent: Sent,
) -> anyhow::Result<Meter> {
    let pause = Duration::from_secs_f64(TASKS as f64 / PER_S);
    tokio::time::sleep(pause * task as u32 / TASKS as u32).await;
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while meter.goes_on() {
        let id = Uuid::now_v7().to_string();
        for (target, command) in [
            (Target::New(id.clone()), workload::authorize()?),
            (Target::Existing(id.clone()), workload::settle()?),
        ] {
            ticks.tick().await;
            let began = Instant::now();
            let receipt = meter
                .time(workload::complete(&commands, tenant, target, command))
                .await?;
            let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            sent.push((receipt.position.0, began));
        }
    }
    Ok(meter)
}
