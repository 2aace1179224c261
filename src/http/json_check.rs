//! The strict reading of a command's JSON, before serde gives it a type.
//!
//! Refused: text that is not JSON (RFC 8259), nesting deeper than 64, an object that names a key twice
//! (readers disagree on which one counts), and U+0000 in any string or key: Postgres cannot hold it in
//! `jsonb`, and one stored would break every later scan. Each finding names its JSON pointer (RFC 6901).

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::problem::{self, ApiError};

/// Deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 64;

/// Checks a document.
///
/// # Errors
/// 400 naming the place.
pub fn check(bytes: &[u8]) -> Result<(), ApiError> {
    let mut finding = None;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let walked = Walk {
        finding: &mut finding,
        depth: 0,
    }
    .deserialize(&mut reader)
    .and_then(|()| reader.end());
    match (walked, finding) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(finding)) => Err(finding.into_problem()),
        (Err(error), None) => Err(not_json(&error)),
    }
}

fn not_json(error: &serde_json::Error) -> ApiError {
    let place = format!("line {} column {}", error.line(), error.column());
    problem::MALFORMED_JSON
        .detail(format!("the body is not JSON: {error}"))
        .field("", place)
}

/// What the walk refused, and where. The path is filled in from the inside out.
struct Finding {
    rule: Rule,
    path: Vec<String>,
}

#[derive(Clone, Copy)]
enum Rule {
    TooDeep,
    KeyTwice,
    Nul,
}

impl Finding {
    fn into_problem(self) -> ApiError {
        let mut pointer = String::new();
        for segment in self.path.iter().rev() {
            push_segment(&mut pointer, segment);
        }
        let (kind, message) = match self.rule {
            Rule::TooDeep => (
                problem::MALFORMED_JSON,
                format!("nested deeper than {MAX_DEPTH} levels"),
            ),
            Rule::KeyTwice => (problem::MALFORMED_JSON, "the key is given twice".to_owned()),
            Rule::Nul => (
                problem::INVALID_BODY,
                "contains U+0000, which is not allowed in any text".to_owned(),
            ),
        };
        kind.detail(format!("the body is refused: {message}"))
            .field(pointer, message)
    }
}

/// Appends a reference token (RFC 6901 §3).
pub fn push_segment(pointer: &mut String, segment: &str) {
    pointer.push('/');
    for c in segment.chars().take(200) {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            '\0' => pointer.push('\u{fffd}'),
            c => pointer.push(c),
        }
    }
}

struct Walk<'a> {
    finding: &'a mut Option<Finding>,
    depth: usize,
}

impl Walk<'_> {
    fn refuse<E: serde::de::Error>(&mut self, rule: Rule) -> E {
        *self.finding = Some(Finding {
            rule,
            path: Vec::new(),
        });
        E::custom("refused")
    }

    fn text<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        if text.contains('\0') {
            Err(self.refuse(Rule::Nul))
        } else {
            Ok(())
        }
    }

    fn inner(&mut self) -> Walk<'_> {
        Walk {
            finding: self.finding,
            depth: self.depth + 1,
        }
    }

    fn name_place(&mut self, segment: impl Into<String>) {
        if let Some(finding) = self.finding {
            finding.path.push(segment.into());
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(Rule::TooDeep));
        }
        let mut index = 0_usize;
        loop {
            match items.next_element_seed(self.inner()) {
                Ok(Some(())) => index += 1,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.name_place(index.to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(Rule::TooDeep));
        }
        let mut seen = HashSet::new();
        while let Some(Key(key)) = entries.next_key_seed(KeySeed)? {
            let outcome = if key.contains('\0') {
                Err(self.refuse(Rule::Nul))
            } else if seen.contains(&key) {
                Err(self.refuse(Rule::KeyTwice))
            } else {
                entries.next_value_seed(self.inner())
            };
            if let Err(error) = outcome {
                self.name_place(key);
                return Err(error);
            }
            seen.insert(key);
        }
        Ok(())
    }
}

/// A key, borrowed from the body where it has no escapes.
struct Key<'de>(Cow<'de, str>);

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}
