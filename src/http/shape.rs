//! Objects where objects are asked for, at every depth.
//!
//! serde takes an array for a struct, its items for the members in their order, whatever their names. A body of that
//! kind would mean something else after the next field; so what serde has taken is held against the schema by which
//! the route is described.

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, Object, Schema, SchemaType, Type};

use super::json_check::push_segment;
use super::schema::SchemaRef;

/// A part of a body of another shape than described.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misshapen {
    /// Where, as a JSON pointer.
    pub(super) pointer: String,
    /// `an object`, `an array` …
    pub(super) expected: &'static str,
}

/// What serde would take an array for.
pub(super) const AN_OBJECT: &str = "an object";
/// What says that another alternative was meant.
const ANOTHER_VALUE: &str = "one of the values in the API description";

/// Holds what serde has taken against what the API description says of it.
pub(super) fn check(schema: &SchemaRef, value: &Value) -> Result<(), Misshapen> {
    Walk { schemas: schema }.part(&schema.reference(), value, "")
}

struct Walk<'a> {
    schemas: &'a SchemaRef,
}

impl Walk<'_> {
    fn part(&self, schema: &RefOr<Schema>, value: &Value, pointer: &str) -> Result<(), Misshapen> {
        match self.schemas.resolve(schema) {
            Some(Schema::Object(object)) => self.object(object, value, pointer),
            Some(Schema::Array(array)) => {
                let Value::Array(items) = value else {
                    return kind(&array.schema_type, value, pointer);
                };
                let ArrayItems::RefOrSchema(schema) = &array.items else {
                    return Ok(());
                };
                let mut items = items.iter().enumerate();
                items.try_for_each(|(index, item)| {
                    self.part(schema, item, &below(pointer, &index.to_string()))
                })
            }
            Some(Schema::AllOf(all)) => all
                .items
                .iter()
                .try_for_each(|each| self.part(each, value, pointer)),
            Some(Schema::OneOf(one)) => self.any(&one.items, value, pointer),
            Some(Schema::AnyOf(any)) => self.any(&any.items, value, pointer),
            // What is not described is for serde alone to judge.
            _ => Ok(()),
        }
    }

    fn object(&self, schema: &Object, value: &Value, pointer: &str) -> Result<(), Misshapen> {
        kind(&schema.schema_type, value, pointer)?;
        if !among(schema, value) {
            return Err(misshapen(pointer, ANOTHER_VALUE));
        }
        let Value::Object(members) = value else {
            return Ok(());
        };
        // Its tag first: by that it is another alternative, whatever else it has.
        let other = |(name, member): (&String, &Value)| match schema.properties.get(name) {
            Some(RefOr::T(Schema::Object(tag))) => !among(tag, member),
            _ => false,
        };
        if members.iter().any(other) {
            return Err(misshapen(pointer, ANOTHER_VALUE));
        }
        members.iter().try_for_each(|(name, member)| {
            let pointer = below(pointer, name);
            match (
                schema.properties.get(name),
                schema.additional_properties.as_deref(),
            ) {
                (Some(schema), _) | (None, Some(AdditionalProperties::RefOr(schema))) => {
                    self.part(schema, member, &pointer)
                }
                (None, Some(AdditionalProperties::FreeForm(false))) => {
                    Err(misshapen(&pointer, "no such field"))
                }
                (None, _) => Ok(()),
            }
        })
    }

    /// Of several refusals, one of the alternative that was meant.
    fn any(&self, schemas: &[RefOr<Schema>], value: &Value, pointer: &str) -> Result<(), Misshapen> {
        let mut refusals = Vec::new();
        for schema in schemas {
            match self.part(schema, value, pointer) {
                Ok(()) => return Ok(()),
                Err(refusal) => refusals.push(refusal),
            }
        }
        let meant = refusals
            .iter()
            .position(|refusal| refusal.expected != ANOTHER_VALUE);
        let first = (!refusals.is_empty()).then(|| refusals.swap_remove(meant.unwrap_or(0)));
        first.map_or(Ok(()), Err)
    }
}

/// Whether it is one of the values that the schema lists, if it lists any.
fn among(schema: &Object, value: &Value) -> bool {
    schema
        .enum_values
        .as_ref()
        .is_none_or(|values| values.contains(value))
}

/// Of arrays and objects alone: what serde makes of texts and numbers is its own affair.
fn kind(schema: &SchemaType, value: &Value, pointer: &str) -> Result<(), Misshapen> {
    let found = match value {
        Value::Object(_) => Type::Object,
        Value::Array(_) => Type::Array,
        _ => return Ok(()),
    };
    let wanted: &[Type] = match schema {
        SchemaType::AnyValue => return Ok(()),
        SchemaType::Type(one) => std::slice::from_ref(one),
        SchemaType::Array(several) => several,
    };
    if wanted.contains(&found) {
        return Ok(());
    }
    let expected = match wanted.first() {
        Some(Type::Object) => AN_OBJECT,
        Some(Type::Array) => "an array",
        _ => "a single value",
    };
    Err(misshapen(pointer, expected))
}

fn misshapen(pointer: &str, expected: &'static str) -> Misshapen {
    Misshapen {
        pointer: pointer.to_owned(),
        expected,
    }
}

fn below(pointer: &str, segment: &str) -> String {
    let mut below = pointer.to_owned();
    push_segment(&mut below, segment);
    below
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use counterfoil_events::kri::source::SourceConfig;
    use serde_json::json;
    use utoipa::ToSchema;

    use super::*;
    use crate::http::schema::Domain;

    #[derive(ToSchema)]
    #[expect(dead_code, reason = "described only")]
    struct Outer {
        inner: Option<Inner>,
        list: Vec<Inner>,
    }

    #[derive(ToSchema)]
    #[expect(dead_code, reason = "described only")]
    struct Inner {
        text: String,
    }

    #[test]
    fn an_array_for_an_object_is_found_at_every_depth() {
        let schema = SchemaRef::of::<Outer>();
        let refused = |value: Value| check(&schema, &value).unwrap_err().pointer;
        assert_eq!(
            check(&schema, &json!({"inner": {"text": "a"}, "list": [{"text": "b"}]})),
            Ok(())
        );
        assert_eq!(check(&schema, &json!({"inner": null, "list": []})), Ok(()));
        assert_eq!(refused(json!([])), "");
        assert_eq!(refused(json!({"inner": ["a"], "list": []})), "/inner");
        assert_eq!(refused(json!({"list": [{"text": "a"}, ["b"]]})), "/list/1");
    }

    #[test]
    fn of_alternatives_the_one_that_was_meant_is_told() {
        let schema = SchemaRef::of::<Domain<SourceConfig>>();
        let mut source = json!({
            "kind": "http_json", "url": "https://risk.example/", "pointer": "/a",
            "credential": {"header": "authorization", "secret": "risk"}
        });
        assert_eq!(check(&schema, &source), Ok(()));
        source["credential"] = json!(["authorization", "risk"]);
        let refused = check(&schema, &source).unwrap_err();
        assert_eq!(
            (refused.pointer.as_str(), refused.expected),
            ("/credential", "an object")
        );
    }
}
