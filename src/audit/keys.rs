//! The signing keys that an audit trusts, from the key events of the platform log.

use std::sync::Arc;

use counterfoil_events::envelope::RecordedEvent;
use counterfoil_events::ids::{Fingerprint, TenantId};
use counterfoil_events::keyring::{
    AGGREGATE, AGGREGATE_ID, KeyEventProblem, SigningKeyIntroduced, TrustedKeys,
};
use counterfoil_events::verify::{FindingKind, Report};
use sqlx::PgExecutor;

use super::error::AuditError;
use super::rows::recorded;

/// On the unique key over aggregate and sequence. Ordered by position, because that is what trust follows.
const KEY_EVENTS: &str = "SELECT position, envelope, hash, key_id, signature FROM counterfoil.events \
                          WHERE tenant_id = $1 AND aggregate = $2 AND aggregate_id = $3 ORDER BY position";

/// The keys of an installation, as far as a root fingerprint vouches for them.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The keys.
    pub trusted: Arc<TrustedKeys>,
    /// The key events, as exports embed them.
    pub events: Vec<RecordedEvent>,
    /// What is wrong with them.
    pub problems: Vec<KeyEventProblem>,
    /// Whether the root was given; otherwise it is the log's own word.
    pub root_given: bool,
}

impl Keys {
    /// Reads the key events from Postgres. Without a root, that of the first key event is taken: such an audit finds
    /// damage, but could not tell a log that was made anew with another key.
    ///
    /// # Errors
    /// When Postgres does not answer, or there are no key events.
    pub async fn from_postgres(
        log: impl PgExecutor<'_>,
        root: Option<Fingerprint>,
    ) -> Result<Self, AuditError> {
        let rows = sqlx::query(KEY_EVENTS)
            .bind(TenantId::PLATFORM.0)
            .bind(AGGREGATE)
            .bind(AGGREGATE_ID)
            .fetch_all(log)
            .await?;
        // A row that cannot be read is a finding of the platform log; its key is then unknown.
        let events = rows
            .iter()
            .filter_map(|row| recorded(TenantId::PLATFORM, row).ok())
            .collect();
        Self::from_events(events, root)
    }

    fn from_events(events: Vec<RecordedEvent>, root: Option<Fingerprint>) -> Result<Self, AuditError> {
        let own_word = events.first().and_then(named_fingerprint);
        let used = root.or(own_word).ok_or(AuditError::NoKeys)?;
        let (trusted, problems) = TrustedKeys::from_events(used, &events);
        Ok(Self {
            trusted: Arc::new(trusted),
            events,
            problems,
            root_given: root.is_some(),
        })
    }

    /// A report on the key events alone, when trust ends before the last of them.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        // A wrong hash beside a key event does not touch trust, and the platform log's own report says it.
        let broken = self
            .problems
            .iter()
            .find(|problem| problem.kind != FindingKind::HashMismatch)?;
        let mut report = Report::empty(TenantId::PLATFORM);
        report.find(
            broken.position,
            broken.kind,
            format!("key event: {}", broken.detail),
        );
        Some(report)
    }
}

fn named_fingerprint(event: &RecordedEvent) -> Option<Fingerprint> {
    let envelope = event.parse().ok()?;
    let payload: SigningKeyIntroduced = serde_json::from_str(envelope.payload.get()).ok()?;
    Some(payload.fingerprint)
}
