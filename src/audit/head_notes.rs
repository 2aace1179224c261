//! Makes head notes: on demand, and every minute for the tenants that moved.
//!
//! A note is signed only over a head that is the true hash of the event there. It is kept in `head_notes`, where one
//! position has one note for good; who asks again for the same position gets the same note.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::backbone::Backbone;
use counterfoil_events::background::{Background, Heartbeat};
use counterfoil_events::envelope;
use counterfoil_events::head_note::{Head, HeadNote};
use counterfoil_events::ids::{EventHash, Position, TenantId};
use counterfoil_events::ledger::{self, CurrentKey};
use counterfoil_events::signature::Keyring;
use counterfoil_events::timestamp::Clock;
use sqlx::PgPool;
use uuid::Uuid;

use super::error::AuditError;

/// The head with the event that it names; both from one snapshot.
const HEAD: &str = "SELECT h.position, h.hash, e.envelope FROM counterfoil.chain_heads h \
                    LEFT JOIN counterfoil.events e ON e.tenant_id = h.tenant_id AND e.position = h.position \
                    WHERE h.tenant_id = $1";
const KEEP: &str = "INSERT INTO counterfoil.head_notes (tenant_id, position, hash, noted_at, note) \
                    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, position) DO NOTHING";
const KEPT: &str = "SELECT hash, note FROM counterfoil.head_notes WHERE tenant_id = $1 AND position = $2";
const LATEST: &str =
    "SELECT note FROM counterfoil.head_notes WHERE tenant_id = $1 ORDER BY position DESC LIMIT 1";
const MOVED: &str = "SELECT h.tenant_id FROM counterfoil.chain_heads h WHERE h.position > 0 AND NOT EXISTS (\
                     SELECT FROM counterfoil.head_notes n WHERE n.tenant_id = h.tenant_id AND n.position = h.position)";

/// Makes and keeps head notes.
#[derive(Clone)]
pub struct HeadNotes {
    pool: PgPool,
    key: CurrentKey,
    clock: Arc<dyn Clock>,
}

impl HeadNotes {
    /// As `counterfoil_log`, with the key that signs events.
    #[must_use]
    pub fn new(pool: PgPool, key: impl Into<CurrentKey>, clock: Arc<dyn Clock>) -> Self {
        let key = key.into();
        Self { pool, key, clock }
    }

    /// A note for where the log of `tenant` ends now.
    ///
    /// # Errors
    /// When there is no such log or it is empty; when head and event, or this and an earlier note, contradict each
    /// other; when Postgres does not answer.
    pub async fn note(&self, tenant: TenantId) -> Result<HeadNote, AuditError> {
        let head = sqlx::query_as(HEAD).bind(tenant.0);
        let head: Option<(i64, Vec<u8>, Option<String>)> = ledger::one(&self.pool, head).await?;
        let (position, hash, event) = head.ok_or(AuditError::NoTenant(tenant))?;
        let position = Position::from_i64(position);
        if position == Position::ZERO {
            return Err(AuditError::Empty(tenant));
        }
        let hash = hash_of(&hash)?;
        if event.map(|event| envelope::hash(event.as_bytes())) != Some(hash) {
            return Err(AuditError::DamagedHead { tenant, position });
        }
        let time = self.clock.now();
        self.keep(Head {
            tenant,
            position,
            hash,
            time,
        })
        .await
    }

    /// Signs and keeps a head, or finds the note that is kept for that position already.
    async fn keep(&self, head: Head) -> Result<HeadNote, AuditError> {
        let note = HeadNote::sign(head, &*self.key.get());
        let keep = sqlx::query(KEEP)
            .bind(head.tenant.0)
            .bind(head.position.as_i64())
            .bind(head.hash.0)
            .bind(head.time.as_datetime())
            .bind(note.as_str());
        if ledger::execute(&self.pool, keep).await? == 1 {
            return Ok(note);
        }
        let kept = sqlx::query_as(KEPT)
            .bind(head.tenant.0)
            .bind(head.position.as_i64());
        let kept: Option<(Vec<u8>, String)> = ledger::one(&self.pool, kept).await?;
        let (hash, text) = kept.ok_or(sqlx::Error::RowNotFound)?;
        if hash_of(&hash)? != head.hash {
            return Err(AuditError::Forked {
                tenant: head.tenant,
                position: head.position,
            });
        }
        // One that a key before ours signed is as good, but not ours to vouch for: then this one says the same again.
        Ok(HeadNote::open(&text, &self.own_ring()).unwrap_or(note))
    }

    fn own_ring(&self) -> Keyring {
        let mut ring = Keyring::default();
        // A ring that holds nothing yet takes any key.
        let _ = ring.add(self.key.get().public_key());
        ring
    }

    /// The latest note that is kept for a tenant.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn latest(&self, tenant: TenantId) -> Result<Option<String>, AuditError> {
        let latest = sqlx::query_as(LATEST).bind(tenant.0);
        let latest: Option<(String,)> = ledger::one(&self.pool, latest).await?;
        Ok(latest.map(|(note,)| note))
    }

    /// Notes for all tenants whose log has grown since their last one. A tenant whose head is damaged gets none,
    /// and an error in the log; the others do.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn note_moved(&self) -> Result<Vec<HeadNote>, AuditError> {
        self.note_each_moved(&|| ()).await
    }

    async fn note_each_moved(&self, beat: &(dyn Fn() + Send + Sync)) -> Result<Vec<HeadNote>, AuditError> {
        let moved: Vec<(Uuid,)> = ledger::all(&self.pool, sqlx::query_as(MOVED)).await?;
        let mut notes = Vec::with_capacity(moved.len());
        for (tenant,) in moved {
            beat();
            match self.note(TenantId(tenant)).await {
                Ok(note) => notes.push(note),
                Err(error @ AuditError::Postgres(_)) => return Err(error),
                Err(error) => tracing::error!(%tenant, %error, "no head note is made"),
            }
        }
        Ok(notes)
    }
}

fn hash_of(column: &[u8]) -> Result<EventHash, AuditError> {
    let hash = EventHash::try_from(column);
    Ok(hash.map_err(|error| sqlx::Error::Decode(error.into()))?)
}

/// Starts to make notes at an interval, and publishes them, where a backbone is at hand, to `<prefix>.head_notes.<tenant>`
/// as they are.
pub fn note_at_intervals(notes: HeadNotes, backbone: Option<Backbone>, interval: Duration) -> Background {
    // Every await may be its last: a note is kept whole or not at all, and made again next time.
    Background::start("head-notes", |heartbeat| async move {
        run(notes, backbone, interval, &heartbeat).await;
    })
}

async fn run(notes: HeadNotes, backbone: Option<Backbone>, interval: Duration, heartbeat: &Heartbeat) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        heartbeat.during(ticks.tick()).await;
        match notes.note_each_moved(&|| heartbeat.beat()).await {
            Ok(made) => publish(&made, backbone.as_ref()).await,
            Err(error) => tracing::warn!(%error, "head notes are late"),
        }
    }
}

/// A courtesy to whoever collects them: kept they are already, so a note that is lost on the way is not repeated.
async fn publish(made: &[HeadNote], backbone: Option<&Backbone>) {
    let Some(backbone) = backbone.filter(|backbone| backbone.link().borrow().up) else {
        return;
    };
    for note in made {
        let subject = format!("{}.head_notes.{}", backbone.prefix(), note.head().tenant);
        let text = note.as_str().to_owned();
        if let Err(error) = backbone.client().publish(subject, text.into()).await {
            tracing::warn!(%error, "a head note is not published");
        }
    }
}
