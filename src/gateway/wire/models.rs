//! `GET /v1/models` and `GET /v1/models/{id}`.

use serde::Serialize;
use utoipa::ToSchema;

/// A model as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelObject {
    /// The name that requests use.
    pub id: String,
    /// Always `model`.
    pub object: &'static str,
    /// Seconds since 1970: when its price came into force, the only date we know of it.
    pub created: i64,
    /// Who runs it.
    pub owned_by: String,
}

/// The list, not paged, as OpenAI's is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelList {
    /// Always `list`.
    pub object: &'static str,
    /// The models that this caller may use, by name.
    pub data: Vec<ModelObject>,
}
