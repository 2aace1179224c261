//! Following a JSON pointer through a document without building the document.
//!
//! Each step scans its value once and borrows the text of the next, so the work is bounded by depth times size and
//! what is found is the text itself, exactly as written. Scanning is iterative: nesting costs no stack. A member
//! that occurs twice on the way is refused (RFC 6901 leaves it undefined, RFC 8259 calls it unpredictable).

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use counterfoil_events::kri::pointer::{JsonPointer, array_index};

use crate::kri::error::JsonError;

/// The JSON text at `pointer`.
pub(super) fn find<'t>(text: &'t str, pointer: &JsonPointer) -> Result<&'t str, JsonError> {
    // A byte-order mark is not JSON, but servers send it and it means nothing.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut value: &RawValue = serde_json::from_str(text).map_err(|error| JsonError::NotJson {
        line: error.line(),
        column: error.column(),
    })?;
    for (index, token) in pointer.tokens().iter().enumerate() {
        value = step(value, token).map_err(|wrong| wrong.at(pointer, index + 1))?;
    }
    Ok(value.get())
}

/// Why a step finds no single value.
enum Wrong {
    Nothing,
    Twice,
}

impl Wrong {
    fn at(self, pointer: &JsonPointer, step: usize) -> JsonError {
        let pointer = pointer.to_string();
        match self {
            Self::Nothing => JsonError::NotFound { pointer, step },
            Self::Twice => JsonError::Ambiguous { pointer, step },
        }
    }
}

fn step<'t>(value: &'t RawValue, token: &str) -> Result<&'t RawValue, Wrong> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    let found = match value.get().as_bytes().first() {
        Some(b'{') => Member(token).deserialize(&mut deserializer),
        Some(b'[') => Element(array_index(token).ok_or(Wrong::Nothing)?).deserialize(&mut deserializer),
        _ => return Err(Wrong::Nothing),
    };
    // The value scanned as JSON before; what may still fail is a name on the way that is not Unicode.
    match found.map_err(|_| Wrong::Nothing)?.as_slice() {
        [] => Err(Wrong::Nothing),
        [one] => Ok(one),
        _ => Err(Wrong::Twice),
    }
}

/// The members of an object with this name: at most two are kept, which is enough to see that one is too many.
struct Member<'n>(&'n str);

impl<'t> DeserializeSeed<'t> for Member<'_> {
    type Value = Vec<&'t RawValue>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'t> Visitor<'t> for Member<'_> {
    type Value = Vec<&'t RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(name) = members.next_key::<Cow<'t, str>>()? {
            if name == self.0 && found.len() < 2 {
                found.push(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// The element of an array at this place.
struct Element(usize);

impl<'t> DeserializeSeed<'t> for Element {
    type Value = Vec<&'t RawValue>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'t> Visitor<'t> for Element {
    type Value = Vec<&'t RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        let mut index = 0;
        while let Some(element) = elements.next_element::<&'t RawValue>()? {
            if index == self.0 {
                found.push(element);
            }
            index += 1;
        }
        Ok(found)
    }
}
