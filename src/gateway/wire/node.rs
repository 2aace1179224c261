//! A request body as a tree that borrows from it, for checking.
//!
//! Unlike `serde_json::Value` it refuses what two readers may read differently (a key that stands twice) and
//! what is built to exhaust (nesting beyond [`MAX_DEPTH`], more than [`MAX_NODES`] values), and tells whole
//! numbers from decimal ones as the sender wrote them. It is only ever read: what is forwarded are the original
//! bytes.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Deepest nesting of arrays and objects. Real requests stay under 20; tool schemas are the deepest part.
pub const MAX_DEPTH: usize = 64;

/// Most values in one document. A value costs some 40 bytes here and may cost two in the body, so that without a
/// limit a body would take twenty times its size; a long conversation with many tools has some ten thousand.
pub const MAX_NODES: u32 = 200_000;

/// From here on keys are compared through a set: pairwise comparison would be quadratic in hostile input.
const KEYS_COMPARED_IN_PAIRS: usize = 16;

/// One JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Node<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number written without fraction and exponent.
    Integer(i128),
    /// Any other number. Only compared with limits, never summed.
    Decimal(f64),
    /// A string, borrowed where it has no escapes.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Node<'a>>),
    /// An object, in the sender's order, each key once.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// Reads one JSON document. The error's text has a place (line, column), no content.
    ///
    /// # Errors
    /// Not JSON, not UTF-8, nested too deep, a key twice in an object, or bytes after the document.
    pub fn parse(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(body);
        let left = Cell::new(MAX_NODES);
        let seed = Seed {
            depth: 0,
            left: &left,
        };
        let node = seed.deserialize(&mut reader)?;
        reader.end()?;
        Ok(node)
    }

    /// A member of an object; `None` for other values and for members that are null, since the wire
    /// treats null as absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        let Node::Object(members) = self else { return None };
        members
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
            .filter(|v| **v != Node::Null)
    }

    /// The text of a string.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Node::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// What this value is, in the words of OpenAI's error messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "a boolean",
            Node::Integer(_) => "an integer",
            Node::Decimal(_) => "a decimal number",
            Node::Text(_) => "a string",
            Node::List(_) => "an array",
            Node::Object(_) => "an object",
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'c> {
    depth: usize,
    /// How many more values the document may have.
    left: &'c Cell<u32>,
}

impl Seed<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    fn count<E: Error>(self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1);
        self.left
            .set(left.ok_or_else(|| E::custom(format_args!("more than {MAX_NODES} values")))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Decimal(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node<'de>, A::Error> {
        let seed = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(seed)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node<'de>, A::Error> {
        let seed = self.deeper()?;
        let mut members: Vec<(Cow<'de, str>, Node<'de>)> = Vec::new();
        let mut seen: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(key) = entries.next_key_seed(KeySeed)? {
            let repeated = if members.len() < KEYS_COMPARED_IN_PAIRS {
                members.iter().any(|(name, _)| *name == key)
            } else {
                if seen.is_empty() {
                    seen.extend(members.iter().map(|(name, _)| name.clone()));
                }
                !seen.insert(key.clone())
            };
            if repeated {
                return Err(A::Error::custom("a key stands twice in one object"));
            }
            members.push((key, entries.next_value_seed(seed)?));
        }
        Ok(Node::Object(members))
    }
}

/// Reads a key as borrowed text where it can; `Cow` itself always copies.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn whole_numbers_are_told_from_decimal_ones() {
        let node = Node::parse(br#"{"a":1,"b":1.0,"c":-3,"d":1e2,"e":18446744073709551615}"#).unwrap();
        assert_eq!(node.get("a"), Some(&Node::Integer(1)));
        assert_eq!(node.get("b"), Some(&Node::Decimal(1.0)));
        assert_eq!(node.get("c"), Some(&Node::Integer(-3)));
        assert_eq!(node.get("d"), Some(&Node::Decimal(100.0)));
        assert_eq!(node.get("e"), Some(&Node::Integer(18_446_744_073_709_551_615)));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_at_every_depth_and_size() {
        assert!(Node::parse(br#"{"a":1,"a":2}"#).is_err());
        assert!(Node::parse(br#"[{"b":{"a":1,"\u0061":2}}]"#).is_err());
        let many: Vec<String> = (0..40).map(|i| format!(r#""k{i}":1"#)).collect();
        assert!(Node::parse(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
        for twice in [0, 15, 16, 17, 39] {
            let text = format!(r#"{{{},"k{twice}":1}}"#, many.join(","));
            assert!(Node::parse(text.as_bytes()).is_err(), "k{twice}");
        }
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Node::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(Node::parse(nested(MAX_DEPTH + 1).as_bytes()).is_err());
        assert!(Node::parse("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn the_number_of_values_ends_at_the_limit() {
        let list = |values: usize| format!("[{}]", vec!["0"; values].join(","));
        let limit = MAX_NODES as usize;
        assert!(Node::parse(list(limit - 1).as_bytes()).is_ok());
        assert!(Node::parse(list(limit).as_bytes()).is_err());
    }

    #[test]
    fn null_reads_as_absent_and_trailing_bytes_are_refused() {
        assert_eq!(Node::parse(br#"{"a":null}"#).unwrap().get("a"), None);
        assert!(Node::parse(b"{} {}").is_err());
        assert!(Node::parse(b"{\"a\":NaN}").is_err());
        assert!(Node::parse(b"\"\xff\"").is_err());
    }
}
