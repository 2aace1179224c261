//! `GET /v1/models` and `GET /v1/models/{id}`.

use serde::Serialize;

/// A model as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelObject<'a> {
    /// The name that requests use.
    pub id: &'a str,
    /// Always `model`.
    pub object: &'static str,
    /// Seconds since 1970: when its price came into force, the only date we know of it.
    pub created: i64,
    /// Who runs it.
    pub owned_by: &'a str,
}

/// The list, not paged, as OpenAI's is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelList<'a> {
    /// Always `list`.
    pub object: &'static str,
    /// The models that this caller may use, by name.
    pub data: Vec<ModelObject<'a>>,
}
