//! A KRI's id: a name that its owner chooses, such as `denied-share`.
//!
//! It is the same in every tenant that measures the same thing; that is how a carrier's rollup finds the tenants'
//! KRIs that belong together. Within a tenant the aggregate's id makes it unique.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::Code;

/// `[a-z0-9][a-z0-9_.-]{0,63}`: it stands in paths, so it is never `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct KriId(#[schemars(extend("pattern" = "^[a-z0-9][a-z0-9_.-]{0,63}$"))] Code);

/// A text that is no KRI's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a KRI's id: give 1 to 64 of a-z 0-9 _ . - beginning with a letter or digit, such as denied-share"
)]
pub struct NotAKriId;

impl KriId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for KriId {
    type Err = NotAKriId;

    fn from_str(text: &str) -> Result<Self, NotAKriId> {
        if text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            text.parse().map(Self).map_err(|_| NotAKriId)
        } else {
            Err(NotAKriId)
        }
    }
}

impl<'de> Deserialize<'de> for KriId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::ids::deserialize_text(deserializer)
    }
}

impl fmt::Display for KriId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_kris_id_can_stand_in_a_path() {
        assert_eq!("denied-share".parse::<KriId>().unwrap().as_str(), "denied-share");
        for bad in ["", ".", "..", "-x", "Denied", "a/b", "é", &"a".repeat(65)] {
            assert_eq!(bad.parse::<KriId>(), Err(NotAKriId), "{bad:?}");
        }
    }
}
