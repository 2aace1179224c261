//! Replaying the log: what an aggregate, or each aggregate of a tenant, was at a moment, folded from its events.
//!
//! Needs Postgres only. Events come in the order of the index over aggregates, so one aggregate is held at a time,
//! however long the log is. An event that does not hash to what stands beside it stops the replay: what is damaged
//! leads to no state.

mod cross_check;
mod events;

use chrono::DateTime;
use counterfoil_events::actor::Actor;
use counterfoil_events::envelope::Envelope;
use counterfoil_events::ids::{EventId, Position, Sequence, TenantId};
use counterfoil_events::ledger::LogReader;
use counterfoil_events::registry;
use counterfoil_events::timestamp::Timestamp;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::PgPool;

use super::error::AuditError;
pub use cross_check::{CrossCheck, Difference};
use events::{Events, Held};

/// Up to when to replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// Everything that stands in the log now.
    Now,
    /// Up to and with this position.
    Position(Position),
    /// The last position that was recorded not after this.
    Time(Timestamp),
}

/// A text that is neither a position nor a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a position such as 42, or a time such as 2026-11-20T12:00:00Z")]
pub struct AsOfError;

impl std::str::FromStr for AsOf {
    type Err = AsOfError;

    fn from_str(text: &str) -> Result<Self, AsOfError> {
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(Position(position)));
        }
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| AsOfError)?;
        Ok(Self::Time(time.to_utc().into()))
    }
}

/// The end of a log that does not reach up to the moment that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EndOfLog {
    /// Its last position; zero when nothing stands in it.
    pub position: Position,
    /// When the event there was recorded.
    pub recorded_at: Option<Timestamp>,
}

impl AsOf {
    /// Whether this moment lies after the end of a log.
    fn is_beyond(self, end: &EndOfLog) -> bool {
        match self {
            Self::Now => false,
            Self::Position(position) => position > end.position,
            Self::Time(time) => end.recorded_at.is_none_or(|last| time > last),
        }
    }
}

/// What to replay.
#[derive(Debug, Clone)]
pub struct ReplayScope {
    /// Whose log.
    pub tenant: TenantId,
    /// Kind and id of one aggregate; all of the tenant's if none.
    pub aggregate: Option<(String, String)>,
    /// Up to when.
    pub as_of: AsOf,
    /// Payloads as they were written, not lifted to the current versions of their schemas. States come from the
    /// lifted ones in any case.
    pub raw: bool,
}

/// An event as it is replayed.
#[derive(Debug, Serialize)]
pub struct ReplayedEvent {
    /// Where it stands in the log.
    pub position: Position,
    /// Where it stands in its aggregate's history.
    pub sequence: Sequence,
    /// Its id.
    pub event_id: EventId,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// In which request.
    pub request_id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The version in which it was written.
    pub version: String,
    /// The payload, in the current version of its schema unless the raw one was asked for.
    pub payload: Box<RawValue>,
}

/// An aggregate as it was.
#[derive(Debug, Serialize)]
pub struct Replayed {
    /// Its kind.
    pub aggregate: String,
    /// Its id.
    pub aggregate_id: String,
    /// How many events it had.
    pub sequence: Sequence,
    /// Where the last of them stands.
    pub position: Position,
    /// The state that they lead to.
    pub state: Value,
    /// The events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<ReplayedEvent>,
}

/// A replay under way: aggregate by aggregate, in the order of kind and id.
pub struct Replay {
    events: Events,
    until: Position,
    ended_before: Option<EndOfLog>,
    raw: bool,
}

impl Replay {
    /// Begins to replay, as `counterfoil_log`.
    ///
    /// # Errors
    /// When there is no such tenant, or Postgres does not answer.
    pub async fn begin(pool: PgPool, scope: ReplayScope) -> Result<Self, AuditError> {
        let reader = LogReader::new(pool.clone());
        let tenant = scope.tenant;
        let head = reader
            .head(tenant)
            .await?
            .ok_or(AuditError::NoTenant(tenant))?
            .head;
        let end = EndOfLog {
            position: head.position,
            recorded_at: (head.position > Position::ZERO).then_some(head.recorded_at),
        };
        let until = match scope.as_of {
            AsOf::Now => head.position,
            AsOf::Position(position) => position.min(head.position),
            AsOf::Time(time) => reader.position_as_of(tenant, time).await?,
        };
        Ok(Self {
            events: Events::new(pool, tenant, until, scope.aggregate),
            until,
            ended_before: scope.as_of.is_beyond(&end).then_some(end),
            raw: scope.raw,
        })
    }

    /// Where the log ends, if that is before the moment that was asked for: what is replayed is the state there.
    #[must_use]
    pub fn ended_before(&self) -> Option<EndOfLog> {
        self.ended_before
    }

    /// The last position that is replayed.
    #[must_use]
    pub fn until(&self) -> Position {
        self.until
    }

    /// The next aggregate.
    ///
    /// # Errors
    /// When an event is damaged or of a kind that this build does not know, or Postgres does not answer.
    pub async fn next(&mut self) -> Result<Option<Replayed>, AuditError> {
        match self.events.next_aggregate().await? {
            Some(held) => fold(&held, self.raw).map(Some),
            None => Ok(None),
        }
    }
}

fn fold(held: &[Held], raw: bool) -> Result<Replayed, AuditError> {
    let unreadable = |position, error: &dyn std::fmt::Display| AuditError::Unreadable {
        position,
        detail: error.to_string(),
    };
    let mut envelopes = Vec::with_capacity(held.len());
    for event in held {
        let parsed = Envelope::parse(&event.envelope).map_err(|error| unreadable(event.position, &error))?;
        envelopes.push(parsed);
    }
    let last = envelopes
        .last()
        .ok_or_else(|| unreadable(Position::ZERO, &"an aggregate without events"))?;
    let written = envelopes.iter().map(|envelope| {
        (
            envelope.event_type.as_ref(),
            envelope.version.as_ref(),
            envelope.payload,
        )
    });
    let state = registry::state_of(&last.aggregate, written)?;
    Ok(Replayed {
        aggregate: last.aggregate.to_string(),
        aggregate_id: last.aggregate_id.to_string(),
        sequence: last.sequence,
        position: last.position,
        state,
        events: envelopes
            .iter()
            .map(|envelope| replayed(envelope, raw))
            .collect::<Result<_, _>>()?,
    })
}

fn replayed(envelope: &Envelope<'_>, raw: bool) -> Result<ReplayedEvent, AuditError> {
    let Envelope {
        aggregate,
        event_type,
        version,
        payload,
        ..
    } = envelope;
    let lifted = registry::upcast(aggregate, event_type, version, payload)?;
    Ok(ReplayedEvent {
        position: envelope.position,
        sequence: envelope.sequence,
        event_id: envelope.event_id,
        recorded_at: envelope.recorded_at,
        actor: envelope.actor.clone(),
        request_id: envelope.request_id.to_string(),
        event_type: event_type.to_string(),
        version: version.to_string(),
        payload: if raw {
            (*payload).to_owned()
        } else {
            lifted.payload
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_position_or_a_time() {
        assert_eq!("42".parse(), Ok(AsOf::Position(Position(42))));
        let time = "2026-11-20T12:00:00.000000Z".parse().map(AsOf::Time);
        assert_eq!("2026-11-20T13:00:00+01:00".parse::<AsOf>().ok(), time.ok());
        for neither in ["", "-1", "yesterday", "2026-11-20"] {
            assert_eq!(neither.parse::<AsOf>(), Err(AsOfError), "{neither}");
        }
    }
}
