//! Which documents a payload refers to: every object in it, however deep, that has exactly the members
//! `digest` (64 lower-case hexadecimal digits) and `bytes` (an integer below 2^32).
//!
//! The payload is walked once without building values; most payloads are passed over by a look for the word.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::document::DocumentRef;
use crate::ids::DocumentDigest;

/// The documents that `payload`, a JSON text, refers to.
///
/// # Errors
/// When it is no JSON, or nested deeper than 127 levels.
pub fn documents_of(payload: &str) -> Result<Vec<DocumentRef>, serde_json::Error> {
    let mut found = Vec::new();
    // A member name may also be written with escapes, so a backslash asks for the walk as well.
    if payload.contains("\"digest\"") || payload.contains("\\u") {
        let mut json = serde_json::Deserializer::from_str(payload);
        Walk(&mut found).deserialize(&mut json)?;
        json.end()?;
    }
    Ok(found)
}

/// What a value is to the object that holds it.
enum Shape {
    Digest(DocumentDigest),
    Length(u32),
    Other,
}

struct Walk<'f>(&'f mut Vec<DocumentRef>);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Shape, E> {
        Ok(text.parse().map_or(Shape::Other, Shape::Digest))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Shape, E> {
        Ok(u32::try_from(number).map_or(Shape::Other, Shape::Length))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        while items.next_element_seed(Walk(self.0))?.is_some() {}
        Ok(Shape::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Shape, A::Error> {
        let (mut count, mut digest, mut bytes) = (0, None, None);
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            count += 1;
            match (name.as_ref(), members.next_value_seed(Walk(self.0))?) {
                ("digest", Shape::Digest(value)) => digest = Some(value),
                ("bytes", Shape::Length(value)) => bytes = Some(value),
                _ => {}
            }
        }
        if let (2, Some(digest), Some(bytes)) = (count, digest, bytes) {
            self.0.push(DocumentRef { digest, bytes });
        }
        Ok(Shape::Other)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn count(payload: &str) -> usize {
        documents_of(payload).unwrap().len()
    }

    #[test]
    fn references_are_found_at_any_depth_and_nothing_else_is_taken_for_one() {
        let digest = "ab".repeat(32);
        let reference = format!(r#"{{"digest":"{digest}","bytes":7}}"#);
        assert_eq!(count(&reference), 1);
        assert_eq!(
            count(&format!(r#"{{"a":[1,{reference},{{"b":{reference}}}]}}"#)),
            2
        );
        assert_eq!(count(&format!(r#"{{"\u0064igest":"{digest}","bytes":7}}"#)), 1);
        for other in [
            format!(r#"{{"digest":"{digest}"}}"#),
            format!(r#"{{"digest":"{digest}","bytes":7,"more":1}}"#),
            format!(r#"{{"digest":"{digest}","bytes":"7"}}"#),
            format!(r#"{{"digest":"{digest}","bytes":7.0}}"#),
            format!(r#"{{"digest":"{digest}","bytes":-7}}"#),
            format!(r#"{{"digest":"{}","bytes":7}}"#, "AB".repeat(32)),
            r#""a text with the word \"digest\" in it""#.to_owned(),
        ] {
            assert_eq!(count(&other), 0, "{other}");
        }
    }
}
