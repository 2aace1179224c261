//! A schema with everything it refers to, taken from a Rust type by utoipa.

use std::fmt;

use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Ref, Schema};

/// A named schema and the schemas it refers to.
#[derive(Clone)]
pub struct SchemaRef {
    name: String,
    components: Vec<(String, RefOr<Schema>)>,
}

impl SchemaRef {
    /// Of a type that derives `ToSchema`.
    #[must_use]
    pub fn of<T: ToSchema>() -> Self {
        let name = T::name().into_owned();
        let mut components = vec![(name.clone(), T::schema())];
        T::schemas(&mut components);
        Self { name, components }
    }

    /// A reference to it under `#/components/schemas/`.
    #[must_use]
    pub fn reference(&self) -> RefOr<Schema> {
        RefOr::Ref(Ref::from_schema_name(&self.name))
    }

    /// It and all that it refers to.
    #[must_use]
    pub fn components(&self) -> &[(String, RefOr<Schema>)] {
        &self.components
    }
}

impl fmt::Debug for SchemaRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SchemaRef").field(&self.name).finish()
    }
}
