//! The one call that writes: `counterfoil.append`, check-first, all or nothing.
//!
//! Its outcomes: written; refused (nothing written, with the true head and what was off, or with the key that signs
//! now); failed (nothing
//! written, the server said so); unknown (the connection was lost, or time ran out, around COMMIT).

use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use uuid::Uuid;

use crate::ids::{EventHash, KeyId, Position, Sequence};
use crate::ledger::call::{CALL_TIMEOUT, within};
use crate::ledger::place::{Head, PlacedBatch};
use crate::ledger::request::AppendRequest;
use crate::timestamp::Timestamp;

const APPEND: &str = "SELECT counterfoil.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
                      $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29)";

/// What came of a call.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Durable.
    Written,
    /// Nothing written: the head or some items are not as expected.
    Refused(Refusal),
    /// Nothing written: there is no such head.
    Missing,
    /// Nothing written: this key signs now.
    Superseded(KeyId),
    /// Nothing written: the server said why.
    Failed(String),
    /// Perhaps written.
    Unknown(String),
}

/// What the function found instead.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) head: RefusalHead,
    pub(super) quarantine: Option<String>,
    pub(super) refused: Vec<RefusedItem>,
}

/// The true head.
#[derive(Debug, Deserialize)]
pub(super) struct RefusalHead {
    position: Position,
    hash: EventHash,
    fence: i64,
    recorded_at_micros: i64,
}

impl From<&RefusalHead> for Head {
    fn from(head: &RefusalHead) -> Self {
        let recorded_at =
            chrono::DateTime::from_timestamp_micros(head.recorded_at_micros).unwrap_or_default();
        Self {
            position: head.position,
            hash: head.hash,
            fence: head.fence,
            recorded_at: Timestamp::from(recorded_at),
        }
    }
}

/// One refused request.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RefusedItem {
    /// Its Idempotency-Key stands for these events.
    Key {
        item: usize,
        fingerprint: String,
        position: Position,
        count: u32,
    },
    /// Its aggregate is at another sequence.
    Sequence {
        item: usize,
        aggregate: String,
        aggregate_id: String,
        actual: Sequence,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Refused(Refusal),
    Superseded {
        superseded: KeyId,
    },
    Missing {
        #[serde(rename = "missing")]
        _missing: bool,
    },
}

/// Writes `batch` on `connection` as a statement of its own (or within the caller's transaction).
pub(super) async fn write(
    connection: &mut PgConnection,
    batch: &PlacedBatch,
    requests: &[&AppendRequest],
) -> Outcome {
    let call = bind(batch, requests).fetch_one(connection);
    match within(CALL_TIMEOUT, call).await {
        Err(error) => classify(&error),
        Ok(None) => Outcome::Written,
        Ok(Some(answer)) => match serde_json::from_value(answer) {
            Ok(Answer::Refused(refusal)) => Outcome::Refused(refusal),
            Ok(Answer::Superseded { superseded }) => Outcome::Superseded(superseded),
            Ok(Answer::Missing { .. }) => Outcome::Missing,
            Err(error) => Outcome::Failed(format!("counterfoil.append answered in another shape: {error}")),
        },
    }
}

/// An ERROR rolled the statement back; anything harsher may have struck after the commit record was written.
pub(super) fn classify(error: &sqlx::Error) -> Outcome {
    match error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
    {
        Some(server) if server.severity() == PgSeverity::Error => {
            Outcome::Failed(format!("{} ({})", server.message(), server.code()))
        }
        Some(server) => Outcome::Unknown(format!("{} ({})", server.message(), server.code())),
        None => Outcome::Unknown(error.to_string()),
    }
}

type Append<'q> =
    sqlx::query::QueryScalar<'q, sqlx::Postgres, Option<serde_json::Value>, sqlx::postgres::PgArguments>;

fn bind<'q>(batch: &'q PlacedBatch, requests: &[&'q AppendRequest]) -> Append<'q> {
    let query = sqlx::query_scalar(APPEND)
        .bind(batch.tenant.0)
        .bind(batch.before.position.as_i64())
        .bind(batch.before.hash.0)
        .bind(batch.before.fence)
        .bind(batch.after.hash.0)
        .bind(batch.after.recorded_at.as_datetime())
        .bind(batch.key_id.0);
    let query = bind_expectations(query, batch, requests);
    let query = bind_keys(query, batch, requests);
    let query = bind_events(query, batch);
    bind_documents_and_heads(query, batch, requests)
}

fn bind_expectations<'q>(
    query: Append<'q>,
    batch: &PlacedBatch,
    requests: &[&'q AppendRequest],
) -> Append<'q> {
    let parts = || {
        batch
            .requests
            .iter()
            .flat_map(|placed| requests[placed.item].parts.iter().map(move |part| (placed, part)))
    };
    query
        .bind(parts().map(|(placed, _)| placed.item as i32).collect::<Vec<_>>())
        .bind(
            parts()
                .map(|(_, part)| part.aggregate.as_ref())
                .collect::<Vec<&str>>(),
        )
        .bind(
            parts()
                .map(|(_, part)| part.aggregate_id.as_str())
                .collect::<Vec<&str>>(),
        )
        .bind(
            parts()
                .map(|(_, part)| part.expected.as_i64())
                .collect::<Vec<_>>(),
        )
}

fn bind_keys<'q>(query: Append<'q>, batch: &PlacedBatch, requests: &[&'q AppendRequest]) -> Append<'q> {
    let keys = || {
        batch.requests.iter().filter_map(|placed| {
            requests[placed.item]
                .idempotency
                .as_ref()
                .map(|key| (placed, key))
        })
    };
    query
        .bind(keys().map(|(placed, _)| placed.item as i32).collect::<Vec<_>>())
        .bind(keys().map(|(_, key)| key.key_hash).collect::<Vec<_>>())
        .bind(keys().map(|(_, key)| key.fingerprint).collect::<Vec<_>>())
        .bind(
            keys()
                .map(|(placed, _)| placed.first_position.as_i64())
                .collect::<Vec<_>>(),
        )
        .bind(
            keys()
                .map(|(placed, _)| placed.events.len() as i32)
                .collect::<Vec<_>>(),
        )
}

fn bind_events<'q>(query: Append<'q>, batch: &'q PlacedBatch) -> Append<'q> {
    let events = &batch.events;
    query
        .bind(events.iter().map(|event| event.event_id.0).collect::<Vec<Uuid>>())
        .bind(
            events
                .iter()
                .map(|event| event.aggregate.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            events
                .iter()
                .map(|event| event.aggregate_id.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            events
                .iter()
                .map(|event| event.sequence.as_i64())
                .collect::<Vec<_>>(),
        )
        .bind(
            events
                .iter()
                .map(|event| event.event_type.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            events
                .iter()
                .map(|event| event.version.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            events
                .iter()
                .map(|event| event.receipt.hash.0)
                .collect::<Vec<_>>(),
        )
        .bind(
            events
                .iter()
                .map(|event| event.receipt.signature.0)
                .collect::<Vec<_>>(),
        )
        .bind(
            events
                .iter()
                .map(|event| event.envelope.as_str())
                .collect::<Vec<_>>(),
        )
}

fn bind_documents_and_heads<'q>(
    query: Append<'q>,
    batch: &PlacedBatch,
    requests: &[&'q AppendRequest],
) -> Append<'q> {
    let documents = || {
        batch
            .requests
            .iter()
            .flat_map(|placed| &requests[placed.item].documents)
    };
    let heads = || {
        batch
            .requests
            .iter()
            .flat_map(|placed| &requests[placed.item].new_heads)
    };
    query
        .bind(
            documents()
                .map(|document| document.reference().digest.0)
                .collect::<Vec<_>>(),
        )
        .bind(documents().map(|document| document.body()).collect::<Vec<&str>>())
        .bind(heads().map(|head| head.tenant.0).collect::<Vec<Uuid>>())
        .bind(heads().map(|head| head.partition as i32).collect::<Vec<_>>())
}
