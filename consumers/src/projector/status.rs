//! How each read model is being fed, for readiness and metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use counterfoil_events::background::Heartbeat;

/// How one read model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedState {
    /// Nothing is known yet.
    Starting,
    /// Another process feeds it.
    StandingBy,
    /// It is being built anew: its tables or fold are of another revision.
    Rebuilding,
    /// It is fed.
    Feeding {
        /// Positions that it is behind, over all logs.
        lag: u64,
    },
    /// It cannot be fed.
    Failing {
        /// Why.
        reason: String,
    },
}

/// How all read models are. Clones are one status.
#[derive(Clone, Default)]
pub struct ProjectorStatus(Arc<RwLock<BTreeMap<&'static str, (FeedState, Heartbeat)>>>);

impl ProjectorStatus {
    pub(super) fn set(&self, projection: &'static str, state: FeedState, heartbeat: &Heartbeat) {
        heartbeat.beat();
        if let FeedState::Feeding { lag } = state {
            metrics::gauge!("counterfoil_projection_lag_events", "projection" => projection).set(lag as f64);
        }
        let mut states = self.0.write().unwrap_or_else(PoisonError::into_inner);
        states.insert(projection, (state, heartbeat.clone()));
    }

    /// The heartbeat of each read model's feeder.
    #[must_use]
    pub fn heartbeats(&self) -> Vec<Heartbeat> {
        let states = self.0.read().unwrap_or_else(PoisonError::into_inner);
        states.values().map(|(_, heartbeat)| heartbeat.clone()).collect()
    }

    /// Each read model's state.
    #[must_use]
    pub fn states(&self) -> BTreeMap<&'static str, FeedState> {
        let states = self.0.read().unwrap_or_else(PoisonError::into_inner);
        states
            .iter()
            .map(|(name, (state, _))| (*name, state.clone()))
            .collect()
    }

    /// What is not as it should be; none if all are fed by this process or another.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let states = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut problems = states
            .iter()
            .filter_map(|(name, (state, heartbeat))| match state {
                FeedState::Failing { reason } => Some(format!("{name}: {reason}")),
                FeedState::Rebuilding => Some(format!("{name} is being rebuilt")),
                FeedState::Starting => Some(format!("{name} is starting")),
                _ if heartbeat.age().as_secs() > 30 => Some(format!(
                    "{name} has not moved for {} s",
                    heartbeat.age().as_secs()
                )),
                FeedState::StandingBy | FeedState::Feeding { .. } => None,
            });
        problems.next()
    }
}
