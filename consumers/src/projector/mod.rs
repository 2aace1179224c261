//! The projector: feeds every version of every read model that is of this build's making, until it is stopped.
//!
//! A task for each read model ([`feeder`]) and one that wakes them: by the commits of this process at once, by the
//! hints of others over NATS, and by the scans of the chain heads, which nothing escapes. Events are read from
//! Postgres, from each tenant's cursor on. Each read model is fed by one process at a time, by an advisory lock ([`lead`]); that
//! two cannot do harm is ensured by the fence of each step.

mod feeder;
mod inbox;
mod lead;
mod recent;
mod status;

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::backbone::{Backbone, HeadsReader};
use counterfoil_events::ledger::{Committed, Database};
use counterfoil_projections::engine::Projection;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use feeder::Feeder;
use inbox::Inbox;
use recent::Recent;
pub use status::{FeedState, ProjectorStatus};

use crate::news::{NewsSources, follow};

/// What a projector stands on.
pub struct ProjectorParts {
    /// The projector's connections are used.
    pub database: Database,
    /// Scans of the chain heads.
    pub heads: HeadsReader,
    /// Commits of this process.
    pub notices: broadcast::Receiver<Committed>,
    /// Where other processes' hints come from, with the number of partitions; none: the scans must do.
    pub hints: Option<(Backbone, u32)>,
}

/// How a projector goes about it.
#[derive(Debug, Clone, Copy)]
pub struct ProjectorOptions {
    /// Whether only one projector at a time is active. Two that are do no harm, only the same work twice.
    pub alone: bool,
    /// How long a retired version stays for readers whose statements name it.
    pub keep_retired: Duration,
}

impl Default for ProjectorOptions {
    fn default() -> Self {
        Self {
            alone: true,
            keep_retired: Duration::from_secs(600),
        }
    }
}

/// The running projector.
pub struct Projector {
    stop: CancellationToken,
    tasks: JoinSet<()>,
    status: ProjectorStatus,
}

impl Projector {
    /// Starts to feed `projections`.
    #[must_use]
    pub fn start(
        projections: Vec<Arc<dyn Projection>>,
        parts: ProjectorParts,
        options: ProjectorOptions,
    ) -> Self {
        let stop = CancellationToken::new();
        let status = ProjectorStatus::default();
        let mut tasks = JoinSet::new();
        let mut inboxes = Vec::new();
        let pool = parts.database.projector().clone();
        let recent = Arc::new(Recent::new(pool.clone()));
        let leader = lead::Leader::start(
            &mut tasks,
            stop.clone(),
            pool.clone(),
            &projections,
            options.alone,
        );
        for projection in projections {
            let inbox = Arc::new(Inbox::default());
            inboxes.push(Arc::clone(&inbox));
            let reads = (pool.clone(), Arc::clone(&recent));
            let feeder = Feeder::new(projection, reads, inbox, leader.clone(), status.clone(), options);
            let until = stop.clone();
            tasks.spawn(async move {
                until.run_until_cancelled(feeder.run()).await;
            });
        }
        let until = stop.clone();
        tasks.spawn(async move {
            until.run_until_cancelled(wake(parts, inboxes)).await;
        });
        Self { stop, tasks, status }
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> &ProjectorStatus {
        &self.status
    }

    /// Stops: what is under way is rolled back, and folded again by whoever comes next.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the projector ended badly");
            }
        }
    }
}

/// Tells the feeders how far the logs reach.
async fn wake(parts: ProjectorParts, inboxes: Vec<Arc<Inbox>>) {
    let sources = NewsSources {
        heads: parts.heads,
        notices: parts.notices,
        hints: parts.hints,
    };
    follow(sources, |news| inboxes.iter().for_each(|inbox| inbox.put(news))).await;
}
