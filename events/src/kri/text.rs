//! Business texts of KRIs: units, column names, filter values. They stand in events, so they are short and plain.
//!
//! LOG §1 lets only texts into an envelope that the schema declares business text. These types are that
//! declaration: a bounded number of characters, no control characters (U+0000 among them), no spaces around.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// A text that is not fit to stand in an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing in it.
    #[error("the {what} is empty")]
    Empty {
        /// Which text.
        what: &'static str,
    },
    /// Longer than its limit.
    #[error("the {what} has {characters} characters; at most {limit} are allowed")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// Its length.
        characters: usize,
        /// The limit.
        limit: usize,
    },
    /// A control character, or a space at an end.
    #[error("the {what} holds a control character, or a space at an end (character {character})")]
    Unprintable {
        /// Which text.
        what: &'static str,
        /// Where, from 1.
        character: usize,
    },
}

fn check(what: &'static str, limit: usize, text: &str) -> Result<(), TextError> {
    let characters = text.chars().count();
    if characters == 0 {
        return Err(TextError::Empty { what });
    }
    if characters > limit {
        return Err(TextError::TooLong {
            what,
            characters,
            limit,
        });
    }
    let last = characters - 1;
    let unprintable =
        |(index, c): &(usize, char)| c.is_control() || (c.is_whitespace() && (*index == 0 || *index == last));
    match text.chars().enumerate().find(unprintable) {
        Some((index, _)) => Err(TextError::Unprintable {
            what,
            character: index + 1,
        }),
        None => Ok(()),
    }
}

macro_rules! business_text {
    ($(#[$meta:meta])* $name:ident, $what:literal, $limit:literal) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Most characters.
            pub const MAX_CHARACTERS: usize = $limit;

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                check($what, $limit, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "minLength": 1, "maxLength": $limit })
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::ids::deserialize_text(deserializer)
            }
        }
    };
}

business_text!(
    /// What a value counts: `share of settlements`, `hours`, `EUR`. For people; nothing is converted.
    Unit,
    "unit",
    40
);
business_text!(
    /// A column's heading in a CSV document.
    ColumnName,
    "column name",
    100
);
business_text!(
    /// The text that a row must hold in the filtered column to be counted.
    FilterValue,
    "filter value",
    200
);
business_text!(
    /// Where a document is fetched from. Only its length and characters are judged here; whether it may be
    /// fetched is the network guard's decision, at definition and again at each fetch.
    SourceUrl,
    "URL",
    2000
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_unit_may_be_any_short_printable_text() {
        for text in ["%", "hours", "€ per day", "件"] {
            assert_eq!(text.parse::<Unit>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_text_that_could_not_stand_in_an_event_is_refused_with_the_place() {
        let what = "unit";
        assert_eq!("".parse::<Unit>(), Err(TextError::Empty { what }));
        assert_eq!(
            "x".repeat(41).parse::<Unit>(),
            Err(TextError::TooLong {
                what,
                characters: 41,
                limit: 40
            })
        );
        for (text, character) in [("a\0b", 2), (" a", 1), ("a ", 2), ("a\nb", 2), ("a\u{85}", 2)] {
            assert_eq!(
                text.parse::<Unit>(),
                Err(TextError::Unprintable { what, character }),
                "{text:?}"
            );
        }
    }
}
