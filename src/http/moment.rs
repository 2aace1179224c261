//! Moments as callers write them. The log has one spelling; a person with `date` or a calendar has others.

use std::fmt;
use std::str::FromStr;

use chrono::DateTime;
use counterfoil_events::timestamp::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// Any RFC 3339 time from 1970 on, in any zone; what is finer than a microsecond is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Moment(pub Timestamp);

/// Text that is not a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time of RFC 3339 with its zone, from 1970 on, such as 2026-11-20T12:00:00Z")]
pub struct NoMoment;

impl FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| NoMoment)?;
        let moment = Timestamp::from(time.to_utc());
        // A leap second, or a year beyond four digits after its zone: nothing that the log could write.
        let written: Timestamp = moment.to_string().parse().map_err(|_| NoMoment)?;
        (written >= Timestamp::EPOCH)
            .then_some(Self(written))
            .ok_or(NoMoment)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .examples(["2026-11-20T12:00:00Z"]);
        text.into()
    }
}

impl ToSchema for Moment {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_spelling_of_rfc_3339_is_one_moment() {
        let moment = |text: &str| text.parse::<Moment>().map(|moment| moment.to_string());
        for text in [
            "2026-11-20T12:00:00Z",
            "2026-11-20T12:00:00.000000Z",
            "2026-11-20t13:00:00.0000004+01:00",
            "2026-11-20 12:00:00z",
        ] {
            assert_eq!(moment(text).unwrap(), "2026-11-20T12:00:00.000000Z", "{text}");
        }
    }

    #[test]
    fn what_the_log_cannot_write_is_no_moment() {
        for text in [
            "2026-11-20",
            "2026-11-20T12:00:00",
            "2026-02-30T12:00:00Z",
            "2026-12-31T23:59:60Z",
            "0000-01-01T00:00:00+01:00",
            "1969-12-31T23:59:59Z",
            "9999-12-31T23:59:59-01:00",
            "",
        ] {
            assert_eq!(text.parse::<Moment>(), Err(NoMoment), "{text}");
        }
    }
}
