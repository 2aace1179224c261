//! Logs with events in them, written by the real sequencer.

use std::sync::Arc;

use counterfoil_events::command::Target;
use counterfoil_events::ids::TenantId;
use futures::future::try_join_all;
use uuid::Uuid;

use crate::site::Installation;
use crate::workload;

/// Enough to keep every tenant's batches full.
const TASKS: usize = 256;

/// Authorises and settles completions until `events` more are in the logs of `tenants`, in equal parts.
pub async fn fill(installation: &Installation, tenants: &[TenantId], events: usize) -> anyhow::Result<()> {
    let each = events.div_ceil(2 * TASKS);
    let working = (0..TASKS).map(|task| {
        let (commands, tenant) = (
            Arc::clone(&installation.engine.commands),
            tenants[task % tenants.len()],
        );
        tokio::spawn(async move {
            for _ in 0..each {
                let id = Uuid::now_v7().to_string();
                let (new, old) = (Target::New(id.clone()), Target::Existing(id));
                workload::complete(&commands, tenant, new, workload::authorize()?).await?;
                workload::complete(&commands, tenant, old, workload::settle()?).await?;
            }
            anyhow::Ok(())
        })
    });
    for done in try_join_all(working).await? {
        done?;
    }
    Ok(())
}
