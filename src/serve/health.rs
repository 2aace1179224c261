//! Looks at what the process stands on, once a second (more often until it is ready), and writes it into `/ready`.

use std::time::Duration;

use counterfoil_consumers::projector::ProjectorStatus;
use counterfoil_events::backbone::{Backbone, BackboneStatus};
use counterfoil_events::ledger::Database;
use counterfoil_events::security::{Freshness, SecurityState};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::basis::Basis;
use crate::http::{self, Component, Readiness};

const INTERVAL: Duration = Duration::from_secs(1);
/// Until the process is ready for the first time: whoever started it waits for that.
const STARTING_INTERVAL: Duration = Duration::from_millis(20);
/// A server that takes longer to say yes is as good as away.
const PATIENCE: Duration = Duration::from_secs(2);

/// The task that looks.
pub(super) struct Health {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Looker {
    readiness: Readiness,
    postgres: Component,
    nats: Component,
    relay: Option<Component>,
    security: Component,
    projections: Option<(Component, ProjectorStatus)>,
    database: Database,
    backbone: Backbone,
    status: BackboneStatus,
    state: SecurityState,
    bootstrap: Option<Component>,
}

impl Health {
    pub(super) fn start(
        readiness: &Readiness,
        basis: &Basis,
        state: SecurityState,
        relays: bool,
        projections: Option<ProjectorStatus>,
        bootstrap: bool,
    ) -> Self {
        let looker = Looker {
            readiness: readiness.clone(),
            postgres: readiness.required("postgres"),
            // Commands go on without it: only read models and subscribers lag.
            nats: readiness.optional("nats"),
            relay: relays.then(|| readiness.optional("relay")),
            // Until it has stood at the head, nobody can be told apart.
            security: readiness.required("security_state"),
            // Commands and completions do without them: only queries lag.
            projections: projections.map(|status| (readiness.optional("projections"), status)),
            database: basis.database.clone(),
            backbone: basis.backbone.clone(),
            status: basis.status.clone(),
            state,
            bootstrap: bootstrap.then(|| readiness.optional("bootstrap_token")),
        };
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = tokio::spawn(async move {
            until.run_until_cancelled(looker.run()).await;
        });
        Self { stop, task }
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        // A panic in it is in the log already; nothing depends on it.
        let _ = self.task.await;
    }
}

impl Looker {
    async fn run(self) {
        let mut interval = STARTING_INTERVAL;
        loop {
            self.look().await;
            if self.readiness.overall() != http::health::Health::Down {
                interval = INTERVAL;
            }
            tokio::time::sleep(interval).await;
        }
    }

    async fn look(&self) {
        match tokio::time::timeout(PATIENCE, self.database.ping()).await {
            Ok(Ok(())) => self.postgres.ok(),
            Ok(Err(error)) => self.postgres.down(format!("does not answer: {error}")),
            Err(_) => self
                .postgres
                .down(format!("no answer within {} s", PATIENCE.as_secs())),
        }
        match self.backbone.link().borrow().up {
            true => self.nats.ok(),
            false => self
                .nats
                .degraded("not connected: read models and subscribers lag"),
        }
        match self.state.freshness() {
            Freshness::Fresh => self.security.ok(),
            Freshness::Degraded { age } => self
                .security
                .degraded(format!("{} ms behind the log", age.as_millis())),
            Freshness::Stale { .. } => self
                .security
                .down("has not stood at the head of the log for 5 s: keys are denied"),
            Freshness::Stopped { reason } => self.security.down(reason),
        }
        if let Some(bootstrap) = self
            .bootstrap
            .as_ref()
            .filter(|_| self.state.freshness().may_answer())
        {
            match self.state.is_bootstrap_closed() {
                false => bootstrap.ok(),
                true => bootstrap.degraded(
                    "refused, since an administrator has taken its place: take it out of the configuration",
                ),
            }
        }
        if let Some((component, status)) = &self.projections {
            match status.problem() {
                None => component.ok(),
                Some(problem) => component.degraded(problem),
            }
        }
        if let Some(relay) = &self.relay {
            match self.status.trouble() {
                None => relay.ok(),
                Some(trouble) => relay.degraded(trouble),
            }
        }
    }
}
