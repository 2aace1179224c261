//! A schema with everything it refers to: of a type of a face by utoipa, of a type of the domain by schemars, by which
//! its events are described, too.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Ref, Schema};
use utoipa::{PartialSchema, ToSchema};

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

    /// The schema that a reference of these stands for.
    pub(super) fn resolve<'a>(&'a self, schema: &'a RefOr<Schema>) -> Option<&'a Schema> {
        match schema {
            RefOr::T(schema) => Some(schema),
            RefOr::Ref(reference) => {
                let name = reference.ref_location.rsplit('/').next()?;
                let (_, component) = self.components.iter().find(|(known, _)| known == name)?;
                match component {
                    RefOr::T(schema) => Some(schema),
                    RefOr::Ref(_) => None,
                }
            }
        }
    }
}

impl fmt::Debug for SchemaRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SchemaRef").field(&self.name).finish()
    }
}

/// A value of the domain as a whole body or answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Domain<T>(pub T);

impl<T: JsonSchema> PartialSchema for Domain<T> {
    fn schema() -> RefOr<Schema> {
        of_domain::<T>()
    }
}

impl<T: JsonSchema> ToSchema for Domain<T> {
    fn name() -> Cow<'static, str> {
        T::schema_name()
    }
}

/// The schema of a type of the domain, without references.
///
/// # Panics
/// For a type whose schema says what OpenAPI does not, which shows when the API description is made.
fn of_domain<T: JsonSchema>() -> RefOr<Schema> {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    adapt(&mut schema);
    #[expect(
        clippy::expect_used,
        reason = "a type's schema is the same in every process: a test makes them all"
    )]
    serde_json::from_value(schema).expect("a schema that OpenAPI can say")
}

/// utoipa has no `const`: a list of one value says the same.
fn adapt(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(only) = members.remove("const") {
                members.insert("enum".to_owned(), Value::Array(vec![only]));
            }
            members.values_mut().for_each(adapt);
        }
        Value::Array(items) => items.iter_mut().for_each(adapt),
        _ => {}
    }
}
