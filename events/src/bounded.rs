//! A list with an upper limit that its type names, so that an event's size has one too.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// At most `N` items.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct Bounded<T, const N: usize>(Vec<T>);

/// A list over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the list has {length} items; at most {limit} are kept: shorten it")]
pub struct ListTooLong {
    /// How many it has.
    pub length: usize,
    /// How many it may have.
    pub limit: usize,
}

impl<T, const N: usize> Bounded<T, N> {
    /// The first `N` items. For events that must not fail late: what does not fit stands in a document.
    #[must_use]
    pub fn first_of(items: impl IntoIterator<Item = T>) -> Self {
        Self(items.into_iter().take(N).collect())
    }

    /// The items.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<T, const N: usize> Default for Bounded<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const N: usize> std::ops::Deref for Bounded<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const N: usize> TryFrom<Vec<T>> for Bounded<T, N> {
    type Error = ListTooLong;

    fn try_from(items: Vec<T>) -> Result<Self, ListTooLong> {
        if items.len() > N {
            return Err(ListTooLong {
                length: items.len(),
                limit: N,
            });
        }
        Ok(Self(items))
    }
}

impl<T, const N: usize> IntoIterator for Bounded<T, N> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a Bounded<T, N> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Bounded<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer)?
            .try_into()
            .map_err(serde::de::Error::custom)
    }
}

impl<T: JsonSchema, const N: usize> JsonSchema for Bounded<T, N> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}_at_most_{N}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": generator.subschema_for::<T>(), "maxItems": N })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_list_over_its_limit_is_refused_with_the_limit() {
        let error = serde_json::from_str::<Bounded<u8, 2>>("[1,2,3]").unwrap_err();
        assert!(error.to_string().contains("has 3 items; at most 2"), "{error}");
        assert_eq!(*serde_json::from_str::<Bounded<u8, 2>>("[1,2]").unwrap(), [1, 2]);
    }

    #[test]
    fn a_late_list_is_cut_at_its_limit_instead_of_failing() {
        assert_eq!(*Bounded::<u8, 2>::first_of(1..=9), [1, 2]);
    }
}
