//! Query parameters: `NoQuery`, `Query<T>`, and the parts that every list shares (`limit`, `cursor`).
//!
//! Unknown and repeated parameters are refused, so that a misspelt filter never silently shows everything.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};

use super::problem::{self, ApiError};

/// Something that can be read from a query string.
pub trait RequestQuery: Sized + Send + 'static {
    /// The parameters, for the API description.
    fn describe() -> Vec<Parameter>;

    /// Reads it.
    ///
    /// # Errors
    /// 400, saying which parameter does not fit.
    fn read(query: &str) -> Result<Self, ApiError>;
}

/// The route takes no query parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoQuery;

impl RequestQuery for NoQuery {
    fn describe() -> Vec<Parameter> {
        Vec::new()
    }

    fn read(query: &str) -> Result<Self, ApiError> {
        if query.is_empty() {
            return Ok(Self);
        }
        Err(problem::INVALID_PARAMETER.detail("this route takes no query parameters"))
    }
}

/// The query parameters of type `T`. Derive `Deserialize` (with `deny_unknown_fields`) and `IntoParams`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + IntoParams + Send + 'static> RequestQuery for Query<T> {
    fn describe() -> Vec<Parameter> {
        T::into_params(|| Some(ParameterIn::Query))
    }

    fn read(query: &str) -> Result<Self, ApiError> {
        if query.contains("%00") {
            return Err(problem::INVALID_PARAMETER.detail("the query contains U+0000, which is not allowed"));
        }
        serde_urlencoded::from_str(query).map(Query).map_err(|error| {
            let text = error.to_string();
            let refused = problem::INVALID_PARAMETER.detail(format!("query parameters: {text}"));
            match culprit::<T>(query, &text) {
                Some(name) => refused.field(name, text),
                None => refused,
            }
        })
    }
}

/// The parameter that is refused in the same words when it stands alone. What is missing is none of those that are there.
fn culprit<'q, T: DeserializeOwned>(query: &'q str, refusal: &str) -> Option<&'q str> {
    if refusal.starts_with("missing field") {
        return None;
    }
    let alone =
        |pair: &&str| serde_urlencoded::from_str::<T>(pair).is_err_and(|error| error.to_string() == refusal);
    let pair = query.split('&').find(alone)?;
    let name = pair.split('=').next().unwrap_or(pair);
    // A name of ours has no characters that are escaped; another one is not repeated.
    name.bytes()
        .all(|b| b.is_ascii_lowercase() || b == b'_')
        .then_some(name)
}

/// How many items a page has: 1 to 500, 50 if not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = u16, minimum = 1, maximum = 500, default = 50)]
pub struct Limit(u16);

impl Limit {
    /// Largest page: some 500 KB of JSON for the widest rows.
    pub const MAX: u16 = 500;

    /// As a number of rows.
    #[must_use]
    pub fn get(self) -> usize {
        usize::from(self.0)
    }

    /// As SQL's `LIMIT` for this page and one row more, which tells whether there is a next page.
    #[must_use]
    pub fn and_one_more(self) -> i64 {
        i64::from(self.0) + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = u16::deserialize(deserializer)
            .map_err(|_| D::Error::custom(format!("limit is a number from 1 to {}", Self::MAX)))?;
        if (1..=Self::MAX).contains(&value) {
            return Ok(Self(value));
        }
        Err(D::Error::custom(format!(
            "limit is a number from 1 to {}",
            Self::MAX
        )))
    }
}

/// Where the next page begins: the sort key of the last row, opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String)]
pub struct Cursor<K>(pub K);

impl<K: Serialize> Cursor<K> {
    /// The text for `next`.
    ///
    /// # Errors
    /// A key that cannot be written as JSON: a fault of ours.
    pub fn encode(&self) -> Result<String, ApiError> {
        serde_json::to_vec(&self.0)
            .map(hex::encode)
            .map_err(ApiError::internal)
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Cursor<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        decode(&text)
            .map(Cursor)
            .ok_or_else(|| D::Error::custom(NO_CURSOR))
    }
}

const NO_CURSOR: &str = "cursor is not one that `next` has given";

fn decode<K: DeserializeOwned>(text: &str) -> Option<K> {
    let bytes = hex::decode(text).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The parameters of a list: how much of it, and from where on.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct Paging {
    /// How many at most, 1 to 500.
    pub limit: Limit,
    /// The `next` of the page before.
    cursor: Option<String>,
}

impl Paging {
    /// The sort key of the last row of the page before.
    ///
    /// # Errors
    /// 400 for a cursor that no `next` has given.
    pub fn after<K: DeserializeOwned>(&self) -> Result<Option<K>, ApiError> {
        let decoded = self.cursor.as_deref().map(|text| {
            let refused = || {
                problem::INVALID_PARAMETER
                    .detail(NO_CURSOR)
                    .field("cursor", NO_CURSOR)
            };
            decode(text).ok_or_else(refused)
        });
        decoded.transpose()
    }
}

/// Makes a page of the rows that `LIMIT limit + 1` returned.
///
/// # Errors
/// A sort key that cannot be written as JSON: a fault of ours.
pub fn page<T, K: Serialize>(
    mut rows: Vec<T>,
    limit: Limit,
    key_of: impl Fn(&T) -> K,
) -> Result<super::answer::Listing<T>, ApiError> {
    let more = rows.len() > limit.get();
    rows.truncate(limit.get());
    let last = rows.last().filter(|_| more);
    let next = last.map(|row| Cursor(key_of(row)).encode()).transpose()?;
    Ok(super::answer::Listing { items: rows, next })
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
