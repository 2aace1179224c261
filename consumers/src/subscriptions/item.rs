//! One event as it is handed to subscribers: made once, shared by all of them.

use counterfoil_events::ids::{EventHash, KeyId, Position};
use counterfoil_events::signature::Signature;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};

/// An event of a log: what subscribers choose by, and the document that they are sent.
#[derive(Debug)]
pub struct Item {
    position: Position,
    event_type: String,
    aggregate: String,
    aggregate_id: String,
    json: String,
}

/// The document. `envelope` is the exact text that was hashed and signed; position and type repeat what it says.
#[derive(Serialize)]
struct Document<'a> {
    position: Position,
    #[serde(rename = "type")]
    event_type: &'a str,
    envelope: &'a str,
    hash: &'a EventHash,
    key_id: &'a KeyId,
    signature: &'a Signature,
}

impl Item {
    /// Where it stands.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Its type, such as `AgentRegistered`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The kind of its aggregate.
    #[must_use]
    pub fn aggregate(&self) -> &str {
        &self.aggregate
    }

    /// Which one.
    #[must_use]
    pub fn aggregate_id(&self) -> &str {
        &self.aggregate_id
    }

    /// The document for subscribers, on one line.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// About what it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.json.len() + self.event_type.len() + self.aggregate.len() + self.aggregate_id.len()
    }
}

fn decode<T, E: std::error::Error + Send + Sync + 'static>(value: Result<T, E>) -> Result<T, sqlx::Error> {
    value.map_err(|error| sqlx::Error::Decode(error.into()))
}

impl FromRow<'_, PgRow> for Item {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let position = Position::from_i64(row.try_get(0)?);
        let event_type: String = row.try_get(1)?;
        let document = Document {
            position,
            event_type: &event_type,
            hash: &decode(EventHash::try_from(row.try_get::<&[u8], _>(4)?))?,
            key_id: &decode(KeyId::try_from(row.try_get::<&[u8], _>(5)?))?,
            signature: &decode(Signature::try_from(row.try_get::<&[u8], _>(6)?))?,
            envelope: row.try_get(7)?,
        };
        let json = decode(serde_json::to_string(&document))?;
        Ok(Self {
            position,
            event_type,
            aggregate: row.try_get(2)?,
            aggregate_id: row.try_get(3)?,
            json,
        })
    }
}

/// An event of a made-up log.
#[cfg(test)]
pub(super) fn sample(position: Position, event_type: &str) -> Item {
    Item {
        position,
        event_type: event_type.to_owned(),
        aggregate: "agent".to_owned(),
        aggregate_id: format!("a{}", position.0 % 3),
        json: format!("{{\"position\":{position}}}"),
    }
}
