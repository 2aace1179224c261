//! The JSON Schemas (draft 2020-12) of what a policy is given and what it answers, from the types that write and read
//! them. `docs/schemas/policy-input.json` and `docs/schemas/policy-decision.json` are these, checked in.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::decision::RegoDecision;
use super::input::PolicyInput;

/// The schema of `input`.
#[must_use]
pub fn input_schema() -> Value {
    // As it is written: every member is there.
    let settings = SchemaSettings::draft2020_12().for_serialize();
    schema::<PolicyInput>(settings, "urn:counterfoil:policy:input", "The input of a policy")
}

/// The schema of `data.counterfoil.decision`.
#[must_use]
pub fn decision_schema() -> Value {
    // As it is read: what has a default may be left out.
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    schema::<RegoDecision>(
        settings,
        "urn:counterfoil:policy:decision",
        "The decision of a policy",
    )
}

fn schema<T: JsonSchema>(settings: SchemaSettings, id: &str, title: &str) -> Value {
    let settings = settings.with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), id.into());
    schema.insert("title".to_owned(), title.into());
    schema.to_value()
}
