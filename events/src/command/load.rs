//! Loading an aggregate: its snapshot, if one of this shape is kept, and the committed events after it.
//!
//! Snapshots are a shortcut for long aggregates. They are re-folded from committed events only (never taken from a
//! state that a command has touched) and named by the hash of the state's schema, so another build's is not read.

use sqlx::PgPool;

use crate::envelope::EnvelopeError;
use crate::ids::{Sequence, TenantId};
use crate::ledger::{self, LogReader, StoredEvent};
use crate::schema::{DecodeError, EventSourced, decode, state_schema_hash};

/// Events folded since the last snapshot after which a new one is kept: folding fewer costs less than reading one.
const SNAPSHOT_EVERY: u64 = 200;

const READ: &str = "SELECT sequence, state FROM counterfoil.snapshots \
                    WHERE tenant_id = $1 AND aggregate = $2 AND aggregate_id = $3 AND state_schema = $4";
const KEEP: &str = "INSERT INTO counterfoil.snapshots AS kept \
                    (tenant_id, aggregate, aggregate_id, state_schema, sequence, state) VALUES ($1, $2, $3, $4, $5, $6) \
                    ON CONFLICT (tenant_id, aggregate, aggregate_id) DO UPDATE \
                    SET state_schema = excluded.state_schema, sequence = excluded.sequence, state = excluded.state \
                    WHERE kept.state_schema <> excluded.state_schema OR kept.sequence < excluded.sequence";

/// An aggregate's state after its event at `sequence`.
#[derive(Debug, Clone)]
pub struct Loaded<A> {
    /// The folded state; the default when `sequence` is zero.
    pub state: A,
    /// Its last event.
    pub sequence: Sequence,
}

/// The shape of an aggregate's state: computed once, since deriving the schema costs more than a load.
#[derive(Debug, Clone, Copy)]
pub struct StateShape([u8; 32]);

impl StateShape {
    /// Of `A` in this build.
    #[must_use]
    pub fn of<A: EventSourced>() -> Self {
        Self(state_schema_hash::<A>())
    }
}

/// An aggregate that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Postgres does not answer.
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    /// A stored envelope is not one.
    #[error(
        "a stored event of {aggregate}/{aggregate_id} is damaged: {source}; run `counterfoil audit verify`"
    )]
    Damaged {
        /// The kind of aggregate.
        aggregate: String,
        /// Which one.
        aggregate_id: String,
        /// What is wrong with it.
        source: EnvelopeError,
    },
    /// This build cannot read one of its events.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Loads an aggregate from committed events.
///
/// # Errors
/// See [`LoadError`]; an aggregate without events is no error but at sequence zero.
pub async fn load<A: EventSourced>(
    reader: &LogReader,
    pool: &PgPool,
    shape: StateShape,
    tenant: TenantId,
    id: &str,
) -> Result<Loaded<A>, LoadError> {
    let mut loaded: Loaded<A> = read_snapshot(pool, shape, tenant, id).await?;
    let from = loaded.sequence;
    for event in reader.aggregate(tenant, A::TYPE, id, from).await? {
        loaded.state.apply(decode_stored::<A>(&event)?);
        loaded.sequence = event.sequence;
    }
    if loaded.sequence.0 - from.0 >= SNAPSHOT_EVERY {
        keep_snapshot(pool, shape, tenant, id, &loaded).await;
    }
    Ok(loaded)
}

/// A stored event as `A`'s, lifted to the current version.
///
/// # Errors
/// When the envelope is damaged or the event unknown.
pub fn decode_stored<A: EventSourced>(event: &StoredEvent) -> Result<A::Event, LoadError> {
    // Nothing is decided on bytes that were changed since: what they hid might have been a revocation.
    let genuine = event.recorded.has_its_hash();
    let parsed = genuine.then(|| event.recorded.parse());
    let envelope = parsed
        .unwrap_or(Err(EnvelopeError::Altered))
        .map_err(|source| LoadError::Damaged {
            aggregate: event.aggregate.clone(),
            aggregate_id: event.aggregate_id.clone(),
            source,
        })?;
    Ok(decode::<A>(
        &envelope.event_type,
        &envelope.version,
        envelope.payload,
    )?)
}

async fn read_snapshot<A: EventSourced>(
    pool: &PgPool,
    shape: StateShape,
    tenant: TenantId,
    id: &str,
) -> Result<Loaded<A>, sqlx::Error> {
    let query = sqlx::query_as(READ)
        .bind(tenant.0)
        .bind(A::TYPE)
        .bind(id)
        .bind(shape.0);
    let kept: Option<(i64, String)> = ledger::one(pool, query).await?;
    // A snapshot that does not read is no snapshot.
    let state = kept.and_then(|(sequence, state)| Some((sequence, serde_json::from_str(&state).ok()?)));
    Ok(match state {
        Some((sequence, state)) => Loaded {
            state,
            sequence: Sequence::from_i64(sequence),
        },
        None => Loaded {
            state: A::default(),
            sequence: Sequence::ZERO,
        },
    })
}

async fn keep_snapshot<A: EventSourced>(
    pool: &PgPool,
    shape: StateShape,
    tenant: TenantId,
    id: &str,
    loaded: &Loaded<A>,
) {
    let Ok(state) = serde_json::to_string(&loaded.state) else {
        return;
    };
    let keep = sqlx::query(KEEP)
        .bind(tenant.0)
        .bind(A::TYPE)
        .bind(id)
        .bind(shape.0)
        .bind(loaded.sequence.as_i64())
        .bind(state);
    if let Err(error) = ledger::execute(pool, keep).await {
        // Only a shortcut is missing; the next load tries again.
        tracing::warn!(aggregate = A::TYPE, %error, "a snapshot could not be kept");
    }
}
