//! What an audit says in the end, and how it tells of its progress.

use std::time::Instant;

use counterfoil_events::ids::{Fingerprint, TenantId};
use counterfoil_events::verify::{Findings, Report};
use serde::Serialize;

use super::Scope;
use super::keys::Keys;

/// Told of the work done; a progress bar, or nobody.
pub trait Progress: Sync {
    /// How many events there are to read.
    fn begin(&self, events: u64);
    /// So many more were read.
    fn advance(&self, events: u64);
}

impl Progress for () {
    fn begin(&self, _: u64) {}
    fn advance(&self, _: u64) {}
}

/// The outcome of an audit over one or more logs.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// `postgres`, `jetstream` or the file's name.
    pub source: String,
    /// The first key's fingerprint that everything was verified against.
    pub root: Fingerprint,
    /// Whether that was given, or taken from the log itself.
    pub root_given: bool,
    /// Whether signatures were checked, or the chain alone.
    pub signatures: bool,
    /// Per log, the platform's first.
    pub logs: Vec<Report>,
    /// How many events were read.
    pub events: u64,
    /// How long that took.
    pub seconds: f64,
    /// Events read per second.
    pub events_per_second: f64,
    /// Everything found in all logs.
    pub findings: Findings,
    #[serde(skip)]
    begun: Instant,
}

impl Summary {
    pub(super) fn begin(source: &str, keys: &Keys, scope: &Scope) -> Self {
        let mut summary = Self::of(source.to_owned(), keys.trusted.root(), keys.root_given, scope);
        if let Some(report) = keys.report() {
            summary.add(report);
        }
        summary
    }

    pub(super) fn of(source: String, root: Fingerprint, root_given: bool, scope: &Scope) -> Self {
        Self {
            source,
            root,
            root_given,
            signatures: scope.options.signatures,
            logs: Vec::new(),
            events: 0,
            seconds: 0.0,
            events_per_second: 0.0,
            findings: Findings::default(),
            begun: Instant::now(),
        }
    }

    pub(super) fn add(&mut self, report: Report) {
        self.events += report.events;
        self.findings.merge(report.findings.clone());
        self.logs.push(report);
    }

    pub(super) fn end(mut self) -> Self {
        self.seconds = self.begun.elapsed().as_secs_f64();
        self.events_per_second = self.events as f64 / self.seconds.max(1e-6);
        self
    }

    /// The report on one log.
    #[must_use]
    pub fn log(&self, tenant: TenantId) -> Option<&Report> {
        self.logs.iter().find(|report| report.tenant == tenant)
    }
}
