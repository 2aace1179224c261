//! Verifies the logs that Postgres keeps, while they grow.
//!
//! 1. Read which logs there have to be, and their heads ([`logs`]).
//! 2. Per log: pages in order, read ahead while others are checked; documents and kept head notes as they come.
//! 3. At its end the log must stand where its head stood in step 1, and must not go on beyond its head of now.

use counterfoil_events::head_note;
use counterfoil_events::ids::{EventHash, Position, TenantId};
use counterfoil_events::verify::{Anchor, AnchorSource, FindingKind, LogVerifier, Report};
use sqlx::{PgPool, Row};

use super::Scope;
use super::documents;
use super::error::AuditError;
use super::keys::Keys;
use super::logs::{Head, Log, logs};
use super::notes;
use super::rows::{Pages, bytes};
use super::summary::{Progress, Summary};

const HASH_AT: &str = "SELECT hash FROM counterfoil.events WHERE tenant_id = $1 AND position = $2";
/// In one statement, so in one snapshot: events and their head are committed together.
const ENDS: &str = "SELECT (SELECT h.position FROM counterfoil.chain_heads h WHERE h.tenant_id = $1), \
                    (SELECT max(e.position) FROM counterfoil.events e WHERE e.tenant_id = $1), \
                    (SELECT count(*) FROM counterfoil.events e WHERE e.tenant_id = $1 AND e.position < 1)";

/// Verifies logs in Postgres.
pub struct PostgresAudit {
    pool: PgPool,
    keys: Keys,
    scope: Scope,
}

impl PostgresAudit {
    /// As `counterfoil_log`, which reads all tenants.
    #[must_use]
    pub fn new(pool: PgPool, keys: Keys, scope: Scope) -> Self {
        Self { pool, keys, scope }
    }

    /// Verifies every log in scope.
    ///
    /// # Errors
    /// When Postgres does not answer, or the one tenant asked for does not exist.
    pub async fn run(&self, progress: &dyn Progress) -> Result<Summary, AuditError> {
        let logs = logs(&self.pool, self.scope.tenant).await?;
        let skipped = self.scope.from.0.saturating_sub(1);
        let heads = logs.iter().filter_map(|log| log.head);
        progress.begin(heads.map(|head| head.position.0.saturating_sub(skipped)).sum());
        let mut summary = Summary::begin("postgres", &self.keys, &self.scope);
        for log in &logs {
            summary.add(self.verify_log(log, progress).await?);
        }
        Ok(summary.end())
    }

    async fn verify_log(&self, log: &Log, progress: &dyn Progress) -> Result<Report, AuditError> {
        let mut verifier = self.begin(log).await?;
        let until = log.head.map_or(Position(u64::MAX), |head| head.position);
        let mut at = Position(self.scope.from.0.saturating_sub(1));
        let mut pages = Pages::read(self.pool.clone(), log.tenant, at, until);
        while let Some(current) = pages.next().await {
            let current = current?;
            for head in self.kept(&mut verifier, log.tenant, (at, current.last)).await? {
                verifier.expect(notes::anchor(&head));
            }
            at = current.last;
            let events = current.entries.len() as u64;
            let checking = tokio::task::spawn_blocking(move || {
                let batch = verifier.check(&current.entries);
                (verifier, batch)
            });
            let (returned, batch) = checking.await?;
            verifier = returned;
            let documents = documents::read(&self.pool, log.tenant, batch.documents()).await?;
            verifier.accept(batch, &documents);
            progress.advance(events);
        }
        for head in self
            .kept(&mut verifier, log.tenant, (at, Position(u64::MAX)))
            .await?
        {
            self.expect_later(&mut verifier, log.tenant, &head).await?;
        }
        self.end(log, verifier).await
    }

    /// A verifier for this log from where it has to begin, held to its head and to the auditor's notes.
    async fn begin(&self, log: &Log) -> Result<LogVerifier, AuditError> {
        let from = self.scope.from;
        let prev = match from.0 {
            0 | 1 => Some(EventHash::ZERO),
            _ => self.hash_at(log.tenant, Position(from.0 - 1)).await?,
        };
        let keys = self.keys.trusted.clone();
        let mut verifier = LogVerifier::starting_at(log.tenant, keys, self.scope.options, from, prev);
        if let Some(Head { position, hash, .. }) = log.head.filter(|head| head.position >= from) {
            verifier.expect(Anchor {
                source: AnchorSource::Head,
                position,
                hash: Some(hash),
            });
        }
        for note in notes::of_tenant(&self.scope.head_notes, log.tenant) {
            let opened = notes::open(
                &self.keys.trusted,
                &mut verifier,
                log.tenant,
                Position::ZERO,
                note,
            );
            match opened {
                Some(head) if head.position < from => {
                    notes::expect_before(&self.pool, &mut verifier, &head).await?;
                }
                Some(head) => verifier.expect(notes::anchor(&head)),
                None => {}
            }
        }
        Ok(verifier)
    }

    async fn kept(
        &self,
        verifier: &mut LogVerifier,
        tenant: TenantId,
        range: (Position, Position),
    ) -> Result<Vec<head_note::Head>, sqlx::Error> {
        notes::kept(&self.pool, &self.keys.trusted, verifier, tenant, range).await
    }

    /// A note for a position beyond what was read: the log has grown meanwhile, or its tail was cut.
    async fn expect_later(
        &self,
        verifier: &mut LogVerifier,
        tenant: TenantId,
        head: &head_note::Head,
    ) -> Result<(), sqlx::Error> {
        match self.hash_at(tenant, head.position).await? {
            Some(hash) if hash == head.hash => {}
            Some(hash) => {
                let detail = format!("a head note says {}, the event's hash is {hash}", head.hash);
                verifier.find(head.position, FindingKind::HeadNoteConflict, detail);
            }
            None => verifier.expect(notes::anchor(head)),
        }
        Ok(())
    }

    async fn hash_at(&self, tenant: TenantId, position: Position) -> Result<Option<EventHash>, sqlx::Error> {
        let row = sqlx::query(HASH_AT)
            .bind(tenant.0)
            .bind(position.as_i64())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| bytes(&row, 0, |bytes| EventHash::try_from(bytes)))
            .transpose()
    }

    /// What the head and the rows beyond it have to say, then the report.
    async fn end(&self, log: &Log, mut verifier: LogVerifier) -> Result<Report, AuditError> {
        let ends = sqlx::query(ENDS).bind(log.tenant.0).fetch_one(&self.pool).await?;
        let (head, last): (Option<i64>, Option<i64>) = (ends.try_get(0)?, ends.try_get(1)?);
        let (head, last) = (head.map(Position::from_i64), last.map(Position::from_i64));
        match (head, last) {
            (None, Some(last)) => {
                let detail = format!("events run to position {last}, but the log has no head");
                verifier.find(Position(1), FindingKind::Ahead, detail);
            }
            (None, None) => {
                let detail =
                    "the platform log records its creation, but neither head nor events are there".to_owned();
                verifier.find(Position(1), FindingKind::MissingTail, detail);
            }
            (Some(head), Some(last)) if last > head => {
                let detail = format!("events run to position {last}, the head says {head}");
                verifier.find(head.next(), FindingKind::Ahead, detail);
            }
            _ => {}
        }
        let (end, from) = (head.max(last).unwrap_or(Position::ZERO), self.scope.from);
        if from > end.next() {
            let detail = format!("the log ends at position {end}: what was to be verified begins at {from}");
            verifier.find(end.next(), FindingKind::MissingTail, detail);
        }
        if ends.try_get::<i64, _>(2)? > 0 {
            let detail = "events stand below position 1".to_owned();
            verifier.find(Position::ZERO, FindingKind::Duplicate, detail);
        }
        let mut report = verifier.finish();
        // The head repeats the last event's time: the next one may not be recorded before it.
        if let Some(head) = log
            .head
            .filter(|head| head.position == report.last && report.hash.is_some())
            && report.recorded_at.is_some_and(|last| last != head.recorded_at)
        {
            report.find(
                head.position,
                FindingKind::ColumnsDisagree,
                "the head's recorded_at is not the last event's",
            );
        }
        Ok(report)
    }
}
