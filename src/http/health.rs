//! `/live`, `/ready`, `/metrics`: what an orchestrator and an operator ask first.
//!
//! Components report their own state to a `Readiness` as it changes; nothing is probed on request, so that
//! `/ready` answers at once even when everything else hangs. A required component that is down makes the
//! process not ready (503); a degraded one is named and leaves it ready. `/live` is the age of heartbeats: a loop that
//! hangs does not come back by itself, so the process is to be started again.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use counterfoil_events::background::Heartbeats;
use counterfoil_events::timestamp::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::answer::{self, Answer};
use super::auth::Access;
use super::metrics;
use super::request::Request;
use super::route::{Asker, Route, State};

/// How a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Ok,
    /// Works with less: a fallback, a lag.
    Degraded,
    /// Does not work.
    Down,
}

/// What a component reports.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ComponentHealth {
    /// How it is.
    pub health: Health,
    /// Why, when it is not ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the process can be ready without it.
    pub required: bool,
    /// Since when it has been so.
    #[schema(value_type = String, example = "2026-11-20T12:00:00.000000Z")]
    pub since: Timestamp,
}

/// A loop that has not turned for so long hangs: each beats every second, also while it waits for Postgres or NATS,
/// stands by or builds anew. What it may do between two beats has time limits of its own, all of them shorter.
pub const SILENT_AFTER: Duration = Duration::from_secs(60);

/// The states of all components of a process, and the heartbeats of its loops. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    components: Arc<RwLock<BTreeMap<&'static str, ComponentHealth>>>,
    heartbeats: Heartbeats,
}

/// A component's pen: it writes its own state.
#[derive(Debug, Clone)]
pub struct Component {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// No components.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A component without which the process is not ready. It is down until it reports.
    #[must_use]
    pub fn required(&self, name: &'static str) -> Component {
        self.register(name, true)
    }

    /// A component that the process can do without. It is down until it reports.
    #[must_use]
    pub fn optional(&self, name: &'static str) -> Component {
        self.register(name, false)
    }

    /// The loops whose heartbeats `/live` goes by.
    #[must_use]
    pub fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    fn register(&self, name: &'static str, required: bool) -> Component {
        let reason = Some("has not reported yet".to_owned());
        let state = ComponentHealth {
            health: Health::Down,
            reason,
            required,
            since: Timestamp::now(),
        };
        self.write(|components| components.insert(name, state));
        Component {
            name,
            readiness: self.clone(),
        }
    }

    fn write<T>(&self, change: impl FnOnce(&mut BTreeMap<&'static str, ComponentHealth>) -> T) -> T {
        // Plain values, replaced whole: a panic elsewhere cannot leave them half written.
        change(&mut self.components.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The state of every component now.
    #[must_use]
    pub fn components(&self) -> BTreeMap<&'static str, ComponentHealth> {
        self.components
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Down if a required component is; degraded if any is less than ok; else ok.
    #[must_use]
    pub fn overall(&self) -> Health {
        let rank = |component: &ComponentHealth| match component.health {
            Health::Down if !component.required => Health::Degraded,
            health => health,
        };
        self.components().values().map(rank).max().unwrap_or(Health::Ok)
    }
}

impl Component {
    /// As it should be.
    pub fn ok(&self) {
        self.report(Health::Ok, None);
    }

    /// Works with less; say why.
    pub fn degraded(&self, reason: impl Into<String>) {
        self.report(Health::Degraded, Some(reason.into()));
    }

    /// Does not work; say why.
    pub fn down(&self, reason: impl Into<String>) {
        self.report(Health::Down, Some(reason.into()));
    }

    fn report(&self, health: Health, reason: Option<String>) {
        let changed = self.readiness.write(|components| {
            let Some(state) = components.get_mut(self.name) else {
                return false;
            };
            let changed = state.health != health;
            if changed {
                state.since = Timestamp::now();
            }
            state.health = health;
            state.reason.clone_from(&reason);
            changed
        });
        if changed {
            tracing::info!(component = self.name, ?health, reason, "component changed");
            let value = f64::from(u8::from(health != Health::Ok) + u8::from(health == Health::Down));
            ::metrics::gauge!(metrics::COMPONENT, "component" => self.name).set(value);
        }
    }
}

/// The body of `/ready`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadyAnswer {
    /// Of the process.
    pub health: Health,
    /// Of each part of it.
    #[schema(value_type = BTreeMap<String, ComponentHealth>)]
    pub components: BTreeMap<&'static str, ComponentHealth>,
}

/// The routes of this file.
#[must_use]
pub fn routes(readiness: &State<Readiness>) -> Vec<Route> {
    let open = |route: super::route::RouteSpec| {
        route
            .permission(Access::Public)
            .tag("health")
            .asked_by(Asker::Operator)
    };
    vec![
        open(Route::get(
            "/live",
            "Whether the process answers and its loops turn",
        ))
        .answers_as(200, "They do", "text/plain; charset=utf-8")
        .answers_as(
            503,
            "One hangs: start the process again",
            "text/plain; charset=utf-8",
        )
        .handle(readiness, live),
        open(Route::get(
            "/ready",
            "Whether the process can do its work, and why not",
        ))
        .answers::<ReadyAnswer>(200, "It can, perhaps degraded")
        .answers::<ReadyAnswer>(503, "A required component is down")
        .handle(readiness, ready),
        open(Route::get("/metrics", "Figures in Prometheus's text format"))
            .answers_as(200, "Figures", "text/plain; version=0.0.4")
            .handle(&State::new(()), figures),
    ]
}

async fn live(readiness: Readiness, _: Request) -> Answer {
    let (status, text) = liveness(&readiness.heartbeats, SILENT_AFTER);
    Ok(answer::bytes_of(status, "text/plain; charset=utf-8", text))
}

fn liveness(heartbeats: &Heartbeats, silent_after: Duration) -> (StatusCode, String) {
    match heartbeats.silent_for(silent_after) {
        None => (StatusCode::OK, "live\n".to_owned()),
        Some((name, age)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the loop {name} has not turned for {} s\n", age.as_secs()),
        ),
    }
}

async fn ready(readiness: Readiness, _: Request) -> Answer {
    let health = readiness.overall();
    let status = if health == Health::Down {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    answer::json(
        status,
        &ReadyAnswer {
            health,
            components: readiness.components(),
        },
    )
}

async fn figures((): (), _: Request) -> Answer {
    Ok(answer::bytes_of(
        StatusCode::OK,
        "text/plain; version=0.0.4",
        metrics::render(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_events::background::Heartbeat;

    #[test]
    fn a_heartbeat_that_stops_is_named_and_answers_503() {
        let readiness = Readiness::new();
        let stops = Heartbeat::new("stops");
        readiness.heartbeats().watch(&stops);
        let live = || liveness(&readiness.heartbeats, SILENT_AFTER);
        assert_eq!(live(), (StatusCode::OK, "live\n".to_owned()));
        // It has not beaten since, however short that is.
        std::thread::sleep(Duration::from_millis(5));
        let (status, text) = liveness(&readiness.heartbeats, Duration::from_millis(1));
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.starts_with("the loop stops has not turned"), "{text}");
        stops.beat();
        assert_eq!(live().0, StatusCode::OK);
    }
}
