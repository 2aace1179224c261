//! The one call that writes: `counterfoil.append`, check-first, all or nothing.
//!
//! Its outcomes: written; refused (nothing written, with the true head and what was off, or with the key that signs
//! now); failed (nothing written, the server said so); unreached (not tried); unknown (the connection was lost, or time
//! ran out, around COMMIT).

use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::ids::{EventHash, KeyId, Position, Sequence};
use crate::ledger::call::{CALL_TIMEOUT, within};
use crate::ledger::draft::Draft;
use crate::ledger::place::{Head, PlacedEvent};
use crate::ledger::request::{AppendRequest, NewEvent};
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
    Failed {
        /// In its words.
        reason: String,
        /// Whether it would say so each time.
        permanent: bool,
    },
    /// Nothing written: the server could not be asked.
    Unreached(String),
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

/// Writes `draft` on `connection` as a statement of its own (or within the caller's transaction).
pub(super) async fn write(connection: &mut PgConnection, draft: &Draft) -> Outcome {
    let call = bind(draft).fetch_one(connection);
    match within(CALL_TIMEOUT, call).await {
        Err(error) => classify(&error),
        Ok(None) => Outcome::Written,
        Ok(Some(answer)) => match serde_json::from_value(answer) {
            Ok(Answer::Refused(refusal)) => Outcome::Refused(refusal),
            Ok(Answer::Superseded { superseded }) => Outcome::Superseded(superseded),
            Ok(Answer::Missing { .. }) => Outcome::Missing,
            Err(error) => Outcome::Failed {
                reason: format!("counterfoil.append answered in another shape: {error}"),
                permanent: false,
            },
        },
    }
}

/// An ERROR rolled the statement back; anything harsher may have struck after the commit record was written.
pub(super) fn classify(error: &sqlx::Error) -> Outcome {
    match error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
    {
        Some(server) if server.severity() == PgSeverity::Error => Outcome::Failed {
            reason: format!("{} ({})", server.message(), server.code()),
            permanent: is_permanent(server.code()),
        },
        Some(server) => Outcome::Unknown(format!("{} ({})", server.message(), server.code())),
        None => Outcome::Unknown(error.to_string()),
    }
}

/// Values that no column takes (class 22) and constraints (class 23) are the request's own fault, and no later try is
/// better. Everything else passes: locks, time limits, a full disk, a server that is going down.
fn is_permanent(sqlstate: &str) -> bool {
    sqlstate.starts_with("22") || sqlstate.starts_with("23")
}

type Append<'q> =
    sqlx::query::QueryScalar<'q, sqlx::Postgres, Option<serde_json::Value>, sqlx::postgres::PgArguments>;

fn bind(draft: &Draft) -> Append<'_> {
    let batch = &draft.batch;
    let query = sqlx::query_scalar(APPEND)
        .bind(batch.tenant.0)
        .bind(batch.before.position.as_i64())
        .bind(batch.before.hash.0)
        .bind(batch.before.fence)
        .bind(batch.after.hash.0)
        .bind(batch.after.recorded_at.as_datetime())
        .bind(batch.key_id.0);
    let query = bind_expectations(query, draft);
    let query = bind_keys(query, draft);
    let query = bind_events(query, draft);
    bind_documents_and_heads(query, draft)
}

/// One of each of these, as an array.
fn array<I: Iterator>(of: I) -> Vec<I::Item> {
    of.collect()
}

fn bind_expectations<'q>(query: Append<'q>, draft: &'q Draft) -> Append<'q> {
    let parts = || {
        let requests = draft.placed().zip(0..);
        requests.flat_map(|((request, _), item)| request.parts.iter().map(move |part| (item, part)))
    };
    query
        .bind(array(parts().map(|(item, _): (i32, _)| item)))
        .bind(array(parts().map(|(_, part)| part.aggregate.as_ref())))
        .bind(array(parts().map(|(_, part)| part.aggregate_id.as_str())))
        .bind(array(parts().map(|(_, part)| part.expected.as_i64())))
}

fn bind_keys<'q>(query: Append<'q>, draft: &'q Draft) -> Append<'q> {
    let keys = || {
        let requests = draft.placed().zip(0..);
        requests.filter_map(|((request, events), item)| Some((item, request.idempotency.as_ref()?, events)))
    };
    let first = |events: &[PlacedEvent]| events.first().map_or(0, |event| event.receipt.position.as_i64());
    query
        .bind(array(keys().map(|(item, ..): (i32, _, _)| item)))
        .bind(array(keys().map(|(_, key, _)| key.key_hash)))
        .bind(array(keys().map(|(_, key, _)| key.fingerprint)))
        .bind(array(keys().map(|(.., events)| first(events))))
        .bind(array(keys().map(|(.., events)| events.len() as i32)))
}

/// An event's columns: what was asked for, for which aggregate, and what placement gave it.
type Columns<'q> = ((&'q str, &'q str), &'q NewEvent, &'q PlacedEvent);

fn columns<'q>(
    (request, placed): (&'q AppendRequest, &'q [PlacedEvent]),
) -> impl Iterator<Item = Columns<'q>> {
    let events = request.parts.iter().flat_map(|part| {
        let name = (part.aggregate.as_ref(), part.aggregate_id.as_str());
        part.events.iter().map(move |event| (name, event))
    });
    events
        .zip(placed)
        .map(|((name, event), placed)| (name, event, placed))
}

fn bind_events<'q>(query: Append<'q>, draft: &'q Draft) -> Append<'q> {
    let events = || draft.placed().flat_map(columns);
    query
        .bind(array(events().map(|(.., placed)| placed.receipt.event_id.0)))
        .bind(array(events().map(|((aggregate, _), ..)| aggregate)))
        .bind(array(events().map(|((_, id), ..)| id)))
        .bind(array(events().map(|(.., placed)| placed.sequence.as_i64())))
        .bind(array(events().map(|(_, event, _)| event.event_type.as_ref())))
        .bind(array(events().map(|(_, event, _)| event.version.as_ref())))
        .bind(array(events().map(|(.., placed)| placed.receipt.hash.0)))
        .bind(array(events().map(|(.., placed)| placed.receipt.signature.0)))
        .bind(array(events().map(|(.., placed)| placed.envelope.as_str())))
}

fn bind_documents_and_heads<'q>(query: Append<'q>, draft: &'q Draft) -> Append<'q> {
    let documents = || draft.placed().flat_map(|(request, _)| &request.documents);
    let heads = || draft.placed().flat_map(|(request, _)| &request.new_heads);
    query
        .bind(array(documents().map(|document| document.reference().digest.0)))
        .bind(array(documents().map(|document| document.body())))
        .bind(array(heads().map(|head| head.tenant.0)))
        .bind(array(heads().map(|head| head.partition as i32)))
}
