//! JSON pointers (RFC 6901), checked when they are defined.
//!
//! A pointer stands in an event and is walked over documents that others serve, so it is bounded in length and
//! depth, and anything irregular in it is refused with its position instead of being guessed at.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest pointer in bytes.
pub const MAX_POINTER_BYTES: usize = 500;

/// Most steps. Each step scans what is left of the document once, so this bounds the work.
pub const MAX_POINTER_DEPTH: usize = 32;

/// A valid pointer. The empty one means the whole document.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct JsonPointer {
    text: String,
    tokens: Vec<String>,
}

/// A text that is not a pointer of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// Over the limit.
    #[error("the JSON pointer has {bytes} bytes; at most {MAX_POINTER_BYTES} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Too many steps.
    #[error("the JSON pointer has {depth} steps; at most {MAX_POINTER_DEPTH} are allowed")]
    TooDeep {
        /// Its steps.
        depth: usize,
    },
    /// Does not begin with a slash.
    #[error("a JSON pointer is empty or begins with / (RFC 6901), like /data/0/value")]
    NoSlash,
    /// A tilde that is not `~0` or `~1`.
    #[error("at byte {position} of the JSON pointer: ~ must be followed by 0 (for ~) or 1 (for /)")]
    BadEscape {
        /// Where, from 1.
        position: usize,
    },
    /// A control character.
    #[error("at byte {position} of the JSON pointer: control characters are not allowed")]
    Control {
        /// Where, from 1.
        position: usize,
    },
}

impl JsonPointer {
    /// The pointer as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its steps, unescaped.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }
}

/// The place in an array that `token` names: digits without a leading zero. `-`, the place after the last, names
/// nothing that can be read.
#[must_use]
pub fn array_index(token: &str) -> Option<usize> {
    let leading_zero = token.len() > 1 && token.starts_with('0');
    let digits = !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit());
    if digits && !leading_zero {
        token.parse().ok()
    } else {
        None
    }
}

impl FromStr for JsonPointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        if text.len() > MAX_POINTER_BYTES {
            return Err(PointerError::TooLong { bytes: text.len() });
        }
        if let Some((index, _)) = text.char_indices().find(|(_, c)| c.is_control()) {
            return Err(PointerError::Control { position: index + 1 });
        }
        let tokens = tokens(text)?;
        if tokens.len() > MAX_POINTER_DEPTH {
            return Err(PointerError::TooDeep { depth: tokens.len() });
        }
        Ok(Self {
            text: text.to_owned(),
            tokens,
        })
    }
}

fn tokens(text: &str) -> Result<Vec<String>, PointerError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let steps = text.strip_prefix('/').ok_or(PointerError::NoSlash)?;
    let mut position = 1;
    let mut tokens = Vec::new();
    for step in steps.split('/') {
        tokens.push(unescape(step, position)?);
        position += step.len() + 1;
    }
    Ok(tokens)
}

/// Replaces `~1` and `~0` in the step that begins after `start` bytes.
fn unescape(step: &str, start: usize) -> Result<String, PointerError> {
    let mut token = String::with_capacity(step.len());
    let mut characters = step.char_indices();
    while let Some((index, c)) = characters.next() {
        if c != '~' {
            token.push(c);
            continue;
        }
        match characters.next() {
            Some((_, '0')) => token.push('~'),
            Some((_, '1')) => token.push('/'),
            _ => {
                return Err(PointerError::BadEscape {
                    position: start + index + 1,
                });
            }
        }
    }
    Ok(token)
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for JsonPointer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for JsonPointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::ids::deserialize_text(deserializer)
    }
}

impl JsonSchema for JsonPointer {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JsonPointer".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "json-pointer", "maxLength": MAX_POINTER_BYTES })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn steps(text: &str) -> Vec<String> {
        text.parse::<JsonPointer>().unwrap().tokens().to_vec()
    }

    #[test]
    fn the_examples_of_rfc_6901_are_read_as_it_says() {
        assert_eq!(steps(""), Vec::<String>::new());
        assert_eq!(steps("/foo/0"), ["foo", "0"]);
        assert_eq!(steps("/"), [""]);
        assert_eq!(steps("/a~1b"), ["a/b"]);
        assert_eq!(steps("/m~0n"), ["m~n"]);
        assert_eq!(steps("/~01"), ["~1"]);
        assert_eq!(
            steps("/c%d/e^f/g|h/i\\j/k\"l/ "),
            ["c%d", "e^f", "g|h", "i\\j", "k\"l", " "]
        );
    }

    #[test]
    fn a_hostile_pointer_is_refused_with_its_position() {
        let refused = |text: &str| text.parse::<JsonPointer>().unwrap_err();
        assert_eq!(refused("data/value"), PointerError::NoSlash);
        assert_eq!(refused("#/data"), PointerError::NoSlash);
        assert_eq!(refused("/a/b~"), PointerError::BadEscape { position: 5 });
        assert_eq!(refused("/~2"), PointerError::BadEscape { position: 2 });
        assert_eq!(refused("/é/~/x"), PointerError::BadEscape { position: 5 });
        assert_eq!(refused("/a\0"), PointerError::Control { position: 3 });
        assert_eq!(refused(&"/a".repeat(33)), PointerError::TooDeep { depth: 33 });
        assert_eq!(refused(&"/".repeat(501)), PointerError::TooLong { bytes: 501 });
        assert_eq!(steps(&"/a".repeat(32)).len(), 32);
    }

    #[test]
    fn an_array_index_has_one_spelling() {
        assert_eq!(array_index("0"), Some(0));
        assert_eq!(array_index("10"), Some(10));
        for token in [
            "",
            "-",
            "-1",
            "01",
            "00",
            "+1",
            "1.0",
            "1e1",
            "\u{661}",
            "99999999999999999999999",
        ] {
            assert_eq!(array_index(token), None, "{token}");
        }
    }

    proptest! {
        #[test]
        fn any_member_name_can_be_pointed_at(name in "[^\\x00-\\x1f\\x7f-\\x9f]{0,20}") {
            let text = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            prop_assert_eq!(steps(&text), [name]);
        }

        #[test]
        fn any_text_is_a_pointer_or_refused_without_a_panic(text in "[~/01a-cé]{0,40}") {
            if let Ok(pointer) = text.parse::<JsonPointer>() {
                prop_assert_eq!(pointer.as_str(), text);
            }
        }
    }
}
