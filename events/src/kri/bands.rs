//! Which colour a value has: green, amber or red.
//!
//! Bands are given by the thresholds at which they begin to be left, so that they can neither overlap nor leave
//! a gap: `upper` for values that are too high, `lower` for values that are too low. **A threshold belongs to
//! the worse side**: with `upper {amber 5, red 10}` a value of 5 is amber and a value of 10 is red; with `lower
//! {amber 95, red 90}` a value of 95 is amber and 90 is red. The direction says which sides exist.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exact::Exact;
use super::value::KriValue;

/// Which way a KRI gets worse.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The higher, the worse: failure rates, ages, losses.
    HigherIsWorse,
    /// The lower, the worse: coverage, availability.
    LowerIsWorse,
    /// Worse on leaving a corridor either way: volumes, ratios that should be steady.
    TwoSided,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HigherIsWorse => "higher_is_worse",
            Self::LowerIsWorse => "lower_is_worse",
            Self::TwoSided => "two_sided",
        })
    }
}

/// A value's colour, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// Within appetite.
    Green,
    /// To be watched.
    Amber,
    /// Breached.
    Red,
}

/// Where amber and red begin on one side.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// The first value that is no longer green.
    pub amber: KriValue,
    /// The first value that is red.
    pub red: KriValue,
}

/// Complete, ordered bands. Cannot be made otherwise, nor read from JSON otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawBands", into = "RawBands")]
pub struct Bands {
    sides: Sides,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Sides {
    Upper(Thresholds),
    Lower(Thresholds),
    Both { lower: Thresholds, upper: Thresholds },
}

/// Thresholds that do not make bands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BandsError {
    /// A side that the direction needs is absent.
    #[error("direction {direction} needs {bound}.amber and {bound}.red")]
    Missing {
        /// The direction given.
        direction: Direction,
        /// The absent side.
        bound: &'static str,
    },
    /// A side that the direction does not look at is present.
    #[error("direction {direction} does not use {bound}: leave it out, or use two_sided")]
    Unused {
        /// The direction given.
        direction: Direction,
        /// The superfluous side.
        bound: &'static str,
    },
    /// Two thresholds are the wrong way round, or the same.
    #[error("{bound} ({value}) must be {relation} {other} ({other_value})")]
    Order {
        /// The threshold at fault.
        bound: &'static str,
        /// Its value.
        value: KriValue,
        /// `greater than` or `less than`.
        relation: &'static str,
        /// The threshold it is compared with.
        other: &'static str,
        /// Its value.
        other_value: KriValue,
    },
}

impl Bands {
    /// Checks that the sides fit the direction and that thresholds are strictly ordered, from the lowest:
    /// `lower.red < lower.amber < upper.amber < upper.red`.
    ///
    /// # Errors
    /// Names the bound that is missing, superfluous or out of order.
    pub fn new(
        direction: Direction,
        lower: Option<Thresholds>,
        upper: Option<Thresholds>,
    ) -> Result<Self, BandsError> {
        let missing = |bound| BandsError::Missing { direction, bound };
        let unused = |bound| BandsError::Unused { direction, bound };
        let sides = match (direction, lower, upper) {
            (Direction::HigherIsWorse, None, Some(upper)) => Sides::Upper(upper),
            (Direction::LowerIsWorse, Some(lower), None) => Sides::Lower(lower),
            (Direction::TwoSided, Some(lower), Some(upper)) => Sides::Both { lower, upper },
            (Direction::HigherIsWorse | Direction::TwoSided, _, None) => return Err(missing("upper")),
            (Direction::LowerIsWorse | Direction::TwoSided, None, _) => return Err(missing("lower")),
            (Direction::HigherIsWorse, Some(_), _) => return Err(unused("lower")),
            (Direction::LowerIsWorse, _, Some(_)) => return Err(unused("upper")),
        };
        sides.check_order()?;
        Ok(Self { sides })
    }

    /// Which way the value gets worse.
    #[must_use]
    pub fn direction(&self) -> Direction {
        match self.sides {
            Sides::Upper(_) => Direction::HigherIsWorse,
            Sides::Lower(_) => Direction::LowerIsWorse,
            Sides::Both { .. } => Direction::TwoSided,
        }
    }

    /// The thresholds for values that are too low.
    #[must_use]
    pub fn lower(&self) -> Option<Thresholds> {
        match self.sides {
            Sides::Lower(lower) | Sides::Both { lower, .. } => Some(lower),
            Sides::Upper(_) => None,
        }
    }

    /// The thresholds for values that are too high.
    #[must_use]
    pub fn upper(&self) -> Option<Thresholds> {
        match self.sides {
            Sides::Upper(upper) | Sides::Both { upper, .. } => Some(upper),
            Sides::Lower(_) => None,
        }
    }

    /// The colour of `value`. Total: every value has exactly one.
    #[must_use]
    pub fn band(&self, value: KriValue) -> Band {
        let too_high = self.upper().map_or(Band::Green, |upper| upper.band_above(value));
        let too_low = self.lower().map_or(Band::Green, |lower| lower.band_below(value));
        too_high.max(too_low)
    }

    /// How bad `value` is, as a number that grows as the KRI gets worse; meaningful only between values of the
    /// same direction. One-sided: the value itself, or its negative. Two-sided: how far it is outside green,
    /// and zero inside, where no value is better than another.
    #[must_use]
    pub fn adversity(&self, value: KriValue) -> Exact {
        let value = Exact::from(value);
        match &self.sides {
            Sides::Upper(_) => value,
            Sides::Lower(_) => Exact::default().minus(&value),
            Sides::Both { lower, upper } => {
                let above = value.minus(&upper.amber.into());
                let below = Exact::from(lower.amber).minus(&value);
                above.max(below).max(Exact::default())
            }
        }
    }
}

impl Thresholds {
    fn band_above(&self, value: KriValue) -> Band {
        if value >= self.red {
            Band::Red
        } else if value >= self.amber {
            Band::Amber
        } else {
            Band::Green
        }
    }

    fn band_below(&self, value: KriValue) -> Band {
        if value <= self.red {
            Band::Red
        } else if value <= self.amber {
            Band::Amber
        } else {
            Band::Green
        }
    }
}

impl Sides {
    fn check_order(&self) -> Result<(), BandsError> {
        match self {
            Self::Upper(upper) => rises(("upper.red", upper.red), ("upper.amber", upper.amber)),
            Self::Lower(lower) => falls(("lower.red", lower.red), ("lower.amber", lower.amber)),
            Self::Both { lower, upper } => {
                Self::Upper(*upper).check_order()?;
                Self::Lower(*lower).check_order()?;
                rises(("upper.amber", upper.amber), ("lower.amber", lower.amber))
            }
        }
    }
}

type Bound = (&'static str, KriValue);

fn rises(bound: Bound, other: Bound) -> Result<(), BandsError> {
    if bound.1 > other.1 {
        return Ok(());
    }
    Err(out_of_order(bound, "greater than", other))
}

fn falls(bound: Bound, other: Bound) -> Result<(), BandsError> {
    if bound.1 < other.1 {
        return Ok(());
    }
    Err(out_of_order(bound, "less than", other))
}

fn out_of_order(bound: Bound, relation: &'static str, other: Bound) -> BandsError {
    BandsError::Order {
        bound: bound.0,
        value: bound.1,
        relation,
        other: other.0,
        other_value: other.1,
    }
}

/// Bands as written in JSON, before they are judged.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Bands")]
struct RawBands {
    direction: Direction,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lower: Option<Thresholds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upper: Option<Thresholds>,
}

impl TryFrom<RawBands> for Bands {
    type Error = BandsError;

    fn try_from(raw: RawBands) -> Result<Self, BandsError> {
        Self::new(raw.direction, raw.lower, raw.upper)
    }
}

impl From<Bands> for RawBands {
    fn from(bands: Bands) -> Self {
        Self {
            direction: bands.direction(),
            lower: bands.lower(),
            upper: bands.upper(),
        }
    }
}

#[cfg(test)]
#[path = "bands_tests.rs"]
mod tests;
