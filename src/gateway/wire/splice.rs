//! Edits of a JSON document that leave every other byte alone.
//!
//! What the gateway forwards is what the caller sent: key order, white space, number text and unknown
//! fields included. An edit finds the place of one value (by `RawValue`, which keeps the source's bytes)
//! and replaces, inserts or removes just that. Paths go through objects and, by index, through arrays.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Why a document could not be edited.
#[derive(Debug, thiserror::Error)]
pub enum SpliceError {
    /// The text is not JSON.
    #[error("not a JSON document: {0}")]
    NotJson(#[from] serde_json::Error),
    /// The path leads through something that is neither object nor array, or past an array's end.
    #[error("the path does not lead through objects and arrays")]
    NoSuchPlace,
}

/// One part of a path.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// A member of an object.
    Key(&'a str),
    /// An item of an array.
    Index(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Step::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

/// Sets the value at `path` to the JSON text `value`. Objects that are absent or null on the way are made;
/// new members come last in their object.
///
/// # Errors
/// See [`SpliceError`].
pub fn set(document: &str, path: &[Step<'_>], value: &str) -> Result<String, SpliceError> {
    let Some((first, rest)) = path.split_first() else {
        return Ok(value.to_owned());
    };
    match first {
        Step::Key(key) => set_member(document, key, rest, value),
        Step::Index(index) => {
            let item = inside(document, Step::Index(*index))?.ok_or(SpliceError::NoSuchPlace)?;
            let inner = set(item.get(), rest, value)?;
            Ok(replace(document, &span(document, item), &inner))
        }
    }
}

fn set_member(document: &str, key: &str, rest: &[Step<'_>], value: &str) -> Result<String, SpliceError> {
    let members = Members::read(document)?;
    match members.find(key) {
        Some(raw) if rest.is_empty() || raw.get() == "null" => {
            Ok(replace(document, &span(document, raw), &build(rest, value)?))
        }
        Some(raw) => Ok(replace(
            document,
            &span(document, raw),
            &set(raw.get(), rest, value)?,
        )),
        None => {
            // The document was read as an object, so its last non-blank byte is the closing brace.
            let end = document.trim_end().len() - 1;
            let comma = if members.0.is_empty() { "" } else { "," };
            let name = serde_json::to_string(key)?;
            let member = format!("{comma}{name}:{}", build(rest, value)?);
            Ok(replace(document, &(end..end), &member))
        }
    }
}

/// Removes the member at `path` (its last part is a key); a document without it stays as it is.
///
/// # Errors
/// See [`SpliceError`].
pub fn remove(document: &str, path: &[Step<'_>]) -> Result<String, SpliceError> {
    match path {
        [Step::Key(key)] => remove_member(document, key),
        [first, rest @ ..] if !rest.is_empty() => {
            let Some(inner) = inside(document, *first)? else {
                return Ok(document.to_owned());
            };
            Ok(replace(
                document,
                &span(document, inner),
                &remove(inner.get(), rest)?,
            ))
        }
        _ => Err(SpliceError::NoSuchPlace),
    }
}

fn remove_member(document: &str, key: &str) -> Result<String, SpliceError> {
    let members = Members::read(document)?;
    let Some(at) = members.0.iter().position(|(name, _)| name == key) else {
        return Ok(document.to_owned());
    };
    let value = span(document, members.0[at].1);
    let range = if let Some(before) = at.checked_sub(1) {
        // From the end of the value before: takes the comma in front.
        span(document, members.0[before].1).end..value.end
    } else {
        let start = document.find('{').ok_or(SpliceError::NoSuchPlace)? + 1;
        let comma = if members.0.len() > 1 {
            document[value.end..].find(',').map_or(0, |at| at + 1)
        } else {
            0
        };
        start..value.end + comma
    };
    Ok(replace(document, &range, ""))
}

/// The value that one part of a path leads to.
fn inside<'a>(document: &'a str, step: Step<'_>) -> Result<Option<&'a RawValue>, SpliceError> {
    match step {
        Step::Key(key) => Ok(Members::read(document)?.find(key)),
        Step::Index(index) => Ok(serde_json::from_str::<Items<'_>>(document)?.0.get(index).copied()),
    }
}

/// The members of an object with the text of each value, in order.
///
/// # Errors
/// Not a JSON object.
pub fn members(document: &str) -> Result<Vec<(String, &str)>, SpliceError> {
    Ok(Members::read(document)?
        .0
        .into_iter()
        .map(|(name, raw)| (name, raw.get()))
        .collect())
}

/// `value` wrapped in the objects that the rest of a path asks for.
fn build(rest: &[Step<'_>], value: &str) -> Result<String, SpliceError> {
    let mut text = value.to_owned();
    for step in rest.iter().rev() {
        let Step::Key(key) = step else {
            return Err(SpliceError::NoSuchPlace);
        };
        text = format!("{{{}:{text}}}", serde_json::to_string(key)?);
    }
    Ok(text)
}

fn replace(document: &str, range: &Range<usize>, with: &str) -> String {
    let mut text = String::with_capacity(document.len() + with.len());
    text.push_str(&document[..range.start]);
    text.push_str(with);
    text.push_str(&document[range.end..]);
    text
}

/// Where a raw value stands in the document that it was read from.
fn span(document: &str, raw: &RawValue) -> Range<usize> {
    // A borrowed raw value is a slice of the document, so the distance of the two starts is its offset.
    let start = raw.get().as_ptr() as usize - document.as_ptr() as usize;
    start..start + raw.get().len()
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn read(document: &'a str) -> Result<Self, SpliceError> {
        if !document.trim_start().starts_with('{') {
            return Err(SpliceError::NoSuchPlace);
        }
        Ok(serde_json::from_str(document)?)
    }

    fn find(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, raw)| *raw)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    members.push(entry);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader).map(Members)
    }
}

struct Items<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<&'de RawValue>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(items)
            }
        }
        deserializer.deserialize_seq(Reader).map(Items)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn set_keys(document: &str, path: &[&str], value: &str) -> String {
        let path: Vec<Step<'_>> = path.iter().map(|key| Step::from(*key)).collect();
        set(document, &path, value).unwrap()
    }

    fn remove_keys(document: &str, path: &[&str]) -> String {
        let path: Vec<Step<'_>> = path.iter().map(|key| Step::from(*key)).collect();
        remove(document, &path).unwrap()
    }

    #[test]
    fn every_other_byte_stays() {
        let document = "{ \"z\" : 1.50,\t\"a\":1e2, \"x\":{\"y\" : [1,  2]} }\n";
        assert_eq!(
            set_keys(document, &["a"], "7"),
            "{ \"z\" : 1.50,\t\"a\":7, \"x\":{\"y\" : [1,  2]} }\n"
        );
        assert_eq!(
            set_keys(document, &["x", "w"], "true"),
            "{ \"z\" : 1.50,\t\"a\":1e2, \"x\":{\"y\" : [1,  2],\"w\":true} }\n"
        );
        assert_eq!(
            set(document, &["x".into(), "y".into(), 1.into()], "9").unwrap(),
            "{ \"z\" : 1.50,\t\"a\":1e2, \"x\":{\"y\" : [1,  9]} }\n"
        );
    }

    #[test]
    fn objects_that_are_absent_or_null_are_made() {
        assert_eq!(
            set_keys("{}", &["stream_options", "include_usage"], "true"),
            r#"{"stream_options":{"include_usage":true}}"#
        );
        assert_eq!(
            set_keys(
                r#"{"a":1,"stream_options":null}"#,
                &["stream_options", "include_usage"],
                "true"
            ),
            r#"{"a":1,"stream_options":{"include_usage":true}}"#
        );
        assert!(set("[1]", &["a".into()], "1").is_err());
        assert!(set(r#"{"a":3}"#, &["a".into(), "b".into()], "1").is_err());
    }

    #[test]
    fn a_member_is_removed_with_its_comma() {
        assert_eq!(
            remove_keys(r#"{"a":1, "b":2, "c":3}"#, &["a"]),
            r#"{ "b":2, "c":3}"#
        );
        assert_eq!(
            remove_keys(r#"{"a":1, "b":2, "c":3}"#, &["b"]),
            r#"{"a":1, "c":3}"#
        );
        assert_eq!(
            remove_keys(r#"{"a":1, "b":2 , "c":3}"#, &["c"]),
            r#"{"a":1, "b":2}"#
        );
        assert_eq!(remove_keys(r#"{ "a":1 }"#, &["a"]), "{ }");
        assert_eq!(remove_keys(r#"{"o":{"a":1}}"#, &["o", "a"]), r#"{"o":{}}"#);
        assert_eq!(remove_keys(r#"{"a":1}"#, &["b"]), r#"{"a":1}"#);
    }

    proptest! {
        #[test]
        fn set_then_remove_gives_the_value_and_then_the_rest(
            keys in proptest::collection::btree_map("[a-z]{1,4}", -9i32..9, 0..6),
            key in "[a-z]{1,4}",
        ) {
            let mut expected = keys.clone();
            let document = serde_json::to_string(&keys).unwrap();
            let written = set_keys(&document, &[&key], "77");
            expected.insert(key.clone(), 77);
            let read: std::collections::BTreeMap<String, i32> = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(&read, &expected);
            let removed = remove_keys(&written, &[&key]);
            expected.remove(&key);
            let read: std::collections::BTreeMap<String, i32> = serde_json::from_str(&removed).unwrap();
            prop_assert_eq!(&read, &expected);
        }
    }
}
