//! How far which logs were read for a measurement of the platform itself.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::ids::{Position, TenantId};

/// Most logs of one measurement. A tenant's own measurement reads its own log; the limit bounds the event.
pub const MAX_POSITIONS: usize = 64;

/// The last position read of each log.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(
    try_from = "BTreeMap<TenantId, Position>",
    into = "BTreeMap<TenantId, Position>"
)]
pub struct PositionVector(BTreeMap<TenantId, Position>);

/// More logs than an event holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{logs} logs were read; at most {MAX_POSITIONS} stand in an event: measure fewer tenants at once")]
pub struct TooManyLogs {
    /// How many.
    pub logs: usize,
}

impl TryFrom<BTreeMap<TenantId, Position>> for PositionVector {
    type Error = TooManyLogs;

    fn try_from(positions: BTreeMap<TenantId, Position>) -> Result<Self, TooManyLogs> {
        if positions.len() > MAX_POSITIONS {
            return Err(TooManyLogs {
                logs: positions.len(),
            });
        }
        Ok(Self(positions))
    }
}

impl From<PositionVector> for BTreeMap<TenantId, Position> {
    fn from(vector: PositionVector) -> Self {
        vector.0
    }
}

impl JsonSchema for PositionVector {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PositionVector".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "format": "uuid" },
            "additionalProperties": generator.subschema_for::<Position>(),
            "maxProperties": MAX_POSITIONS,
        })
    }
}
