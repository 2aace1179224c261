//! Looks at what the process stands on, once a second (more often until it is ready), and writes it into `/ready`.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_consumers::projector::ProjectorStatus;
use counterfoil_events::backbone::{Backbone, BackboneStatus};
use counterfoil_events::background::{Background, Heartbeat};
use counterfoil_events::ledger::Database;
use counterfoil_events::security::{Freshness, SecurityState};
use counterfoil_events::timestamp::Timestamp;

use super::basis::Basis;
use crate::http::metrics::ORIGIN_SUSPENDED;
use crate::http::{self, Component, Readiness};
use crate::vault::Secrets;
use crate::vault::cache::Cached;
use crate::vault::kms::watched::WatchedKms;

const INTERVAL: Duration = Duration::from_secs(1);
/// Until the process is ready for the first time: whoever started it waits for that.
const STARTING_INTERVAL: Duration = Duration::from_millis(20);
/// A server that takes longer to say yes is as good as away.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is looked at besides the basis.
pub(super) struct Watched {
    pub(super) state: SecurityState,
    pub(super) kms: Arc<WatchedKms>,
    pub(super) secrets: Arc<Secrets>,
    /// Whether this process has the role `relay`.
    pub(super) relays: bool,
    /// Whether it asks for proof of origin.
    pub(super) proof: bool,
    /// Whether it takes a bootstrap token, until that is closed.
    pub(super) bootstrap: bool,
    /// How its projections are, if it has any.
    pub(super) projections: Option<ProjectorStatus>,
}

struct Looker {
    readiness: Readiness,
    postgres: Component,
    nats: Component,
    relay: Option<Component>,
    security: Component,
    kms: (Component, Arc<WatchedKms>, Arc<Secrets>),
    origin: Option<Component>,
    projections: Option<(Component, ProjectorStatus)>,
    database: Database,
    backbone: Backbone,
    status: BackboneStatus,
    state: SecurityState,
    bootstrap: Option<Component>,
}

/// Starts to look.
pub(super) fn start(readiness: &Readiness, basis: &Basis, watched: Watched) -> Background {
    let Watched {
        state,
        kms,
        secrets,
        relays,
        proof,
        bootstrap,
        projections,
    } = watched;
    let looker = Looker {
        readiness: readiness.clone(),
        postgres: readiness.required("postgres"),
        // Commands go on without it: only read models and subscribers lag.
        nats: readiness.optional("nats"),
        relay: relays.then(|| readiness.optional("relay")),
        // Until it has stood at the head, nobody can be told apart.
        security: readiness.required("security_state"),
        // What is in memory serves on; what needs a key that is not is refused.
        kms: (readiness.optional("kms"), kms, secrets),
        origin: proof.then(|| readiness.optional("origin_proof")),
        // Commands and completions do without them: only queries lag.
        projections: projections.map(|status| (readiness.optional("projections"), status)),
        database: basis.database.clone(),
        backbone: basis.backbone.clone(),
        status: basis.status.clone(),
        state,
        bootstrap: bootstrap.then(|| readiness.optional("bootstrap_token")),
    };
    Background::start("health", |heartbeat| looker.run(heartbeat))
}

impl Looker {
    async fn run(self, heartbeat: Heartbeat) {
        let mut interval = STARTING_INTERVAL;
        loop {
            self.look().await;
            if self.readiness.overall() != http::health::Health::Down {
                interval = INTERVAL;
            }
            heartbeat.during(tokio::time::sleep(interval)).await;
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
            Freshness::Fresh => match self.state.damaged().first_key_value() {
                None => self.security.ok(),
                Some((tenant, reason)) => self
                    .security
                    .degraded(format!("agents of tenant {tenant} are denied: {reason}")),
            },
            Freshness::Degraded { age } => self
                .security
                .degraded(format!("{} ms behind the log", age.as_millis())),
            Freshness::Stale { .. } => self
                .security
                .down("has not stood at the head of the log for 5 s, or is built anew: keys are denied"),
            Freshness::Stopped { reason } => self.security.down(reason),
        }
        let (component, kms, secrets) = &self.kms;
        match kms.trouble() {
            None => {
                // For its figure.
                let _ = secrets.vault().keys().cached();
                component.ok();
            }
            Some(trouble) => match secrets.vault().keys().cached() {
                Some(cached) => component.degraded(format!("{trouble}; {}", serving(cached))),
                None => component.down(format!("{trouble}; no key is cached: the vault is shut")),
            },
        }
        if let Some(origin) = &self.origin {
            self.look_at_origin(origin);
        }
        if let Some(bootstrap) = &self.bootstrap {
            self.look_at_bootstrap(bootstrap);
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

    /// While the security state is too old to tell, the last report stands.
    fn look_at_bootstrap(&self, component: &Component) {
        match (
            self.state.freshness().may_answer(),
            self.state.is_bootstrap_closed(),
        ) {
            (false, _) => {}
            (true, false) => component.ok(),
            (true, true) => component.degraded(
                "refused, since an administrator has taken its place: take it out of the configuration",
            ),
        }
    }

    fn look_at_origin(&self, component: &Component) {
        let until = self.state.origin_open_until();
        let suspended = until.filter(|until| Timestamp::now() < *until);
        match suspended {
            None => component.ok(),
            Some(until) => component.degraded(format!(
                "suspended until {until}: requests are answered wherever they come from"
            )),
        }
        metrics::gauge!(ORIGIN_SUSPENDED).set(f64::from(u8::from(suspended.is_some())));
    }
}

/// Until when the keys in memory serve, by the clock.
fn serving(cached: Cached) -> String {
    let until = chrono::Utc::now() + cached.first_ends_in;
    let Cached { keys, .. } = cached;
    format!(
        "{keys} cached keys, the first until {} UTC",
        until.format("%H:%M:%S")
    )
}
