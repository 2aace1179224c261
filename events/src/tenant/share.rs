//! A carrier's share of a tenant's risk: more than nothing, at most the whole, exact to six digits.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::text::string_schema;

/// Digits after the point. Slips are signed to the hundredth of a per cent; six leave room and keep sums exact.
const MAX_SCALE: u32 = 6;

/// A share `0 < s ≤ 1`, such as `"0.35"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Share(Decimal);

/// A text that is no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a share: give a decimal above 0 and at most 1 with at most {MAX_SCALE} digits after the point, such as \"0.35\""
)]
pub struct ShareError;

impl Share {
    /// The number.
    #[must_use]
    pub fn decimal(self) -> Decimal {
        self.0
    }

    /// What is left of the whole when `taken` are.
    pub fn left_by(taken: impl IntoIterator<Item = Self>) -> Decimal {
        // Exact: each term is at most 1 with six digits, far within a decimal's 28.
        taken.into_iter().fold(Decimal::ONE, |left, share| left - share.0)
    }
}

impl TryFrom<Decimal> for Share {
    type Error = ShareError;

    fn try_from(number: Decimal) -> Result<Self, ShareError> {
        let number = number.normalize();
        if number > Decimal::ZERO && number <= Decimal::ONE && number.scale() <= MAX_SCALE {
            Ok(Self(number))
        } else {
            Err(ShareError)
        }
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        // Digits and a point only: the decimal's own reader also takes exponents, signs and underscores.
        if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(ShareError);
        }
        Decimal::from_str_exact(text).map_err(|_| ShareError)?.try_into()
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Share {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::ids::deserialize_text(deserializer)
    }
}

string_schema!(Share, { "pattern": r"^(1|0\.[0-9]{0,5}[1-9])$" });

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_share_is_above_nothing_and_at_most_the_whole() {
        for (text, written) in [
            ("1", "1"),
            ("0.350", "0.35"),
            ("1.000", "1"),
            ("0.000001", "0.000001"),
            (".5", "0.5"),
        ] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), written);
        }
        for bad in [
            "0",
            "0.0",
            "1.000001",
            "0.0000001",
            "-0.5",
            "5e-1",
            "",
            "0.1_0",
            "NaN",
            "1/2",
        ] {
            assert_eq!(bad.parse::<Share>(), Err(ShareError), "{bad:?}");
        }
    }
}
