//! What the server counts, by route template and status; and the process's Prometheus recorder.
//!
//! Labels are templates, methods and statuses only: bounded in number, and free of ids.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::vault::cache::CACHED;
use crate::vault::kms::watched::QUESTIONS;

const REQUESTS: &str = "counterfoil_http_requests_total";
const DURATION: &str = "counterfoil_http_request_duration_seconds";
const IN_FLIGHT: &str = "counterfoil_http_requests_in_flight";
const CONNECTIONS: &str = "counterfoil_http_connections";
const LOST: &str = "counterfoil_http_connections_lost_total";

/// Reported by `health`.
pub(super) const COMPONENT: &str = "counterfoil_component_health";
/// Counted by `limits`.
pub(crate) const FALLBACK: &str = "counterfoil_limits_fallback_total";

/// Counted by `origin`.
pub(super) const UNPROVEN: &str = "counterfoil_origin_unproven_total";
/// Reported by `serve`.
pub(crate) const ORIGIN_SUSPENDED: &str = "counterfoil_origin_suspended";

/// From 0.25 ms (a read from memory) to 60 s (a model that thinks), about three a decade.
const DURATION_BUCKETS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0,
];

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the process's recorder; repeating it changes nothing. Without it, nothing is recorded and
/// `/metrics` is empty.
pub fn install() {
    RECORDER.get_or_init(|| {
        // Every histogram of the process is a duration in seconds unless it has buckets of its own.
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATION_BUCKETS)
            .ok()?;
        let handle = builder.install_recorder().ok()?;
        describe();
        Some(handle)
    });
}

fn describe() {
    describe_counter!(
        REQUESTS,
        "HTTP requests by route template, method and status; 499: the client hung up before the answer"
    );
    describe_histogram!(
        DURATION,
        metrics::Unit::Seconds,
        "From the request's head to the answer's head"
    );
    describe_gauge!(IN_FLIGHT, "Requests whose answer has not begun");
    describe_gauge!(CONNECTIONS, "Open connections, WebSockets included");
    describe_gauge!(COMPONENT, "Parts of the process: 0 ok, 1 degraded, 2 down");
    describe_counter!(FALLBACK, "Counts and kept answers that Redis could not take");
    describe_counter!(QUESTIONS, "Questions to the KMS, by operation and outcome");
    describe_gauge!(
        CACHED,
        "Organisations' keys in memory, which serve while the KMS is away"
    );
    describe_counter!(
        UNPROVEN,
        "Requests answered without proof of origin while it was suspended"
    );
    describe_gauge!(ORIGIN_SUSPENDED, "1 while the proof of origin is suspended");
    describe_counter!(LOST, "Connections given up: idle, slow_head, stalled");
}

/// The present figures in Prometheus's text format.
#[must_use]
pub fn render() -> String {
    RECORDER
        .get()
        .and_then(Option::as_ref)
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

/// Folds what histograms have gathered, so that they stay small when nobody scrapes.
pub(super) fn upkeep() {
    if let Some(handle) = RECORDER.get().and_then(Option::as_ref) {
        handle.run_upkeep();
    }
}

/// A request in flight.
pub(super) struct RequestMetrics(());

impl RequestMetrics {
    pub fn begin() -> Self {
        gauge!(IN_FLIGHT).increment(1.0);
        Self(())
    }

    pub fn finish(&self, route: &'static str, method: &str, status: u16, took: Duration) {
        // The template's own method is in its name; `method` differs for HEAD and for what is unmatched,
        // where a client may invent methods.
        let method = known_method(method);
        let status = status.to_string();
        counter!(REQUESTS, "route" => route, "method" => method, "status" => status).increment(1);
        histogram!(DURATION, "route" => route).record(took.as_secs_f64());
    }
}

impl Drop for RequestMetrics {
    fn drop(&mut self) {
        gauge!(IN_FLIGHT).decrement(1.0);
    }
}

fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("other")
}

/// An open connection.
pub(super) struct ConnectionGauge(());

impl ConnectionGauge {
    pub fn new() -> Self {
        gauge!(CONNECTIONS).increment(1.0);
        Self(())
    }
}

impl Drop for ConnectionGauge {
    fn drop(&mut self) {
        gauge!(CONNECTIONS).decrement(1.0);
    }
}

/// A connection that was given up.
pub(super) fn count_lost_connection(reason: &'static str) {
    counter!(LOST, "reason" => reason).increment(1);
}
