//! A measured value: an exact decimal with at most 28 significant digits.
//!
//! It is read from text exactly or refused with the reason; it is never rounded on the way in, and no
//! floating-point number takes part. In events, answers and queries it is a string, in one spelling
//! per number: no trailing zeros, no exponent, no minus on zero.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most digits on either side of the point, and significant digits in all: what a 96-bit decimal always holds.
pub const MAX_DIGITS: usize = 28;

/// Longest text read as a number. The longest exact double has 17 digits and an exponent; 64 leaves room for padding.
const MAX_TEXT_BYTES: usize = 64;

/// Exponents beyond four digits cannot lead to a number in range.
const MAX_EXPONENT: i32 = 9_999;

/// An exact decimal as measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KriValue(Decimal);

/// Why a text is not a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Nothing there.
    #[error("the value is empty")]
    Empty,
    /// Longer than any number in range.
    #[error("the value has {bytes} bytes; a number has at most {MAX_TEXT_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not written as a decimal number.
    #[error(
        "not a decimal number (character {character}): write it like -12.5, with a point, and without thousands separators, units or percent sign"
    )]
    NotANumber {
        /// The first character that does not belong, from 1.
        character: usize,
    },
    /// Too precise to be kept exactly.
    #[error("the value needs more than {MAX_DIGITS} significant digits: round it at its source")]
    TooManyDigits,
    /// Too large or too small to be kept exactly.
    #[error("the value has more than {MAX_DIGITS} digits before or after the decimal point")]
    OutOfRange,
}

impl KriValue {
    /// Zero.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// The number as a decimal.
    #[must_use]
    pub fn decimal(self) -> Decimal {
        self.0
    }

    /// `mantissa / 10^scale`, exactly.
    ///
    /// # Errors
    /// When it has more than [`MAX_DIGITS`] significant digits, or digits further than that from the point.
    pub fn from_parts(mantissa: i128, scale: u32) -> Result<Self, ValueError> {
        let text = format!("{mantissa}e-{scale}");
        text.parse()
    }
}

impl From<u32> for KriValue {
    fn from(number: u32) -> Self {
        Self(Decimal::from(number))
    }
}

impl From<u64> for KriValue {
    fn from(number: u64) -> Self {
        // 20 digits at most: always in range.
        Self(Decimal::from(number))
    }
}

impl FromStr for KriValue {
    type Err = ValueError;

    /// Reads `-12.5`, `.5`, `1.5e-7`: an optional minus, digits with at most one point, an optional exponent.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let number = Digits::read(text)?.canonical();
        if number.digits.is_empty() {
            return Ok(Self::ZERO);
        }
        number.exact().map(Self)
    }
}

impl fmt::Display for KriValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for KriValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for KriValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KriValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::ids::deserialize_text(deserializer)
    }
}

impl JsonSchema for KriValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KriValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "An exact decimal with at most 28 significant digits",
            "pattern": r"^-?(0|[1-9][0-9]{0,27})(\.[0-9]{0,27}[1-9])?$",
        })
    }
}

/// A number as written: `digits × 10^-scale`.
struct Digits {
    negative: bool,
    digits: String,
    scale: i32,
}

impl Digits {
    fn read(text: &str) -> Result<Self, ValueError> {
        if text.is_empty() {
            return Err(ValueError::Empty);
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(ValueError::TooLong { bytes: text.len() });
        }
        let Some(at) = text.find(['e', 'E']) else {
            return Self::read_plain(text);
        };
        let mut read = Self::read_plain(&text[..at])?;
        read.scale -= read_exponent(text, at + 1)?;
        Ok(read)
    }

    fn read_plain(number: &str) -> Result<Self, ValueError> {
        let unsigned = number.strip_prefix('-').unwrap_or(number);
        let negative = unsigned.len() < number.len();
        let mut read = Self {
            negative,
            digits: String::new(),
            scale: 0,
        };
        let mut point = false;
        for (index, c) in unsigned.chars().enumerate() {
            match c {
                '0'..='9' => {
                    read.digits.push(c);
                    read.scale += i32::from(point);
                }
                '.' if !point => point = true,
                _ => return Err(not_a_number(index + 1 + usize::from(negative))),
            }
        }
        if read.digits.is_empty() {
            return Err(not_a_number(number.chars().count() + 1));
        }
        Ok(read)
    }

    /// Without leading and trailing zeros: one spelling per number.
    fn canonical(mut self) -> Self {
        let kept = self.digits.trim_end_matches('0').len();
        // The text is at most 64 bytes long, so the difference fits.
        self.scale -= i32::try_from(self.digits.len() - kept).unwrap_or(0);
        self.digits.truncate(kept);
        self.digits = self.digits.trim_start_matches('0').to_owned();
        self
    }

    fn exact(mut self) -> Result<Decimal, ValueError> {
        if self.digits.len() > MAX_DIGITS {
            return Err(ValueError::TooManyDigits);
        }
        let padding = usize::try_from(-self.scale).unwrap_or(0);
        if padding + self.digits.len() > MAX_DIGITS && padding > 0 {
            return Err(ValueError::OutOfRange);
        }
        self.digits.extend(std::iter::repeat_n('0', padding));
        let scale = u32::try_from(self.scale).unwrap_or(0);
        let magnitude: i128 = self.digits.parse().map_err(|_| ValueError::OutOfRange)?;
        let mantissa = if self.negative { -magnitude } else { magnitude };
        Decimal::try_from_i128_with_scale(mantissa, scale).map_err(|_| ValueError::OutOfRange)
    }
}

/// Reads the exponent that begins at byte `start` of `text`.
fn read_exponent(text: &str, start: usize) -> Result<i32, ValueError> {
    let written = &text[start..];
    let digits = written.strip_prefix(['+', '-']).unwrap_or(written);
    let first = text[..start].chars().count() + (written.len() - digits.len()) + 1;
    if digits.is_empty() {
        return Err(not_a_number(first));
    }
    if let Some(index) = digits.chars().position(|c| !c.is_ascii_digit()) {
        return Err(not_a_number(first + index));
    }
    let size = digits.parse::<i32>().unwrap_or(MAX_EXPONENT).min(MAX_EXPONENT);
    Ok(if written.starts_with('-') { -size } else { size })
}

fn not_a_number(character: usize) -> ValueError {
    ValueError::NotANumber { character }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<String, ValueError> {
        text.parse::<KriValue>().map(|value| value.to_string())
    }

    #[test]
    fn every_spelling_of_a_number_becomes_the_same_text() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.000", "0"),
            ("0e999999999", "0"),
            ("007", "7"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1.50", "1.5"),
            ("-12.5", "-12.5"),
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("1.5e-7", "0.00000015"),
            ("100e-2", "1"),
            ("0.1234567890123456789012345678", "0.1234567890123456789012345678"),
            ("0.50000000000000000000000000000000000000000", "0.5"),
            ("9999999999999999999999999999", "9999999999999999999999999999"),
            ("1e27", "1000000000000000000000000000"),
            ("1e-28", "0.0000000000000000000000000001"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_kept_exactly_is_refused_and_not_rounded() {
        assert_eq!(
            read("0.12345678901234567890123456789"),
            Err(ValueError::TooManyDigits)
        );
        assert_eq!(
            read("12345678901234567890123456789"),
            Err(ValueError::TooManyDigits)
        );
        for text in [
            "1e28",
            "1e400",
            "-1e99999999999",
            "1e-29",
            "12e-29",
            "123456789e20",
        ] {
            assert_eq!(read(text), Err(ValueError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_names_the_character_where_it_stops_being_one() {
        for (text, character) in [
            ("NaN", 1),
            ("nan", 1),
            ("inf", 1),
            ("-Infinity", 2),
            ("+1", 1),
            ("1,234.5", 2),
            ("12%", 3),
            ("1.2.3", 4),
            ("0x1F", 2),
            ("-", 2),
            (".", 2),
            ("e5", 1),
            ("none", 1),
            ("1e", 3),
            ("1e-", 4),
            ("1e5x", 4),
            ("1 000", 2),
            ("\u{661}", 1),
            ("\u{2212}1", 1),
            ("1\u{0}", 2),
        ] {
            assert_eq!(read(text), Err(ValueError::NotANumber { character }), "{text:?}");
        }
        assert_eq!(read(""), Err(ValueError::Empty));
        assert_eq!(read(&"1".repeat(65)), Err(ValueError::TooLong { bytes: 65 }));
    }

    #[test]
    fn on_the_wire_a_value_is_a_string_and_only_a_string() {
        let value: KriValue = serde_json::from_str("\"0.0310\"").unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), "\"0.031\"");
        assert!(serde_json::from_str::<KriValue>("0.031").is_err());
        assert!(serde_json::from_str::<KriValue>("null").is_err());
    }

    proptest! {
        #[test]
        fn a_value_survives_being_written_and_read(mantissa in -10i128.pow(28) + 1..10i128.pow(28), scale in 0u32..=28) {
            let value = KriValue::from_parts(mantissa, scale).unwrap();
            prop_assert_eq!(value.to_string().parse::<KriValue>(), Ok(value));
            prop_assert_eq!(value.decimal(), Decimal::from_i128_with_scale(mantissa, scale));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,70}") {
            let _ = text.parse::<KriValue>();
        }

        #[test]
        fn any_text_of_number_characters_is_read_as_the_decimal_library_reads_it(text in "-?[0-9]{1,9}(\\.[0-9]{1,9})?") {
            prop_assert_eq!(text.parse::<KriValue>().unwrap().decimal(), text.parse::<Decimal>().unwrap());
        }
    }
}
