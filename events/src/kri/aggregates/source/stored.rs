//! A source's configuration as an event keeps it: without content.
//!
//! A command may hold a CSV text; an event may not. Since this type cannot hold one either, neither can an
//! event, nor is there a place for one in the published schema.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::KriSourceError;
use crate::kri::source::{CsvOrigin, CsvSource, SourceConfig};

/// A configuration whose CSV text, if any, is a document.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "SourceConfig", into = "SourceConfig")]
pub struct StoredConfig(SourceConfig);

impl StoredConfig {
    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &SourceConfig {
        &self.0
    }
}

impl TryFrom<SourceConfig> for StoredConfig {
    type Error = KriSourceError;

    fn try_from(config: SourceConfig) -> Result<Self, KriSourceError> {
        match config {
            SourceConfig::Csv(CsvSource {
                origin: CsvOrigin::Text(_),
                ..
            }) => Err(KriSourceError::TextNotAttached),
            config => Ok(Self(config)),
        }
    }
}

impl From<StoredConfig> for SourceConfig {
    fn from(stored: StoredConfig) -> Self {
        stored.0
    }
}

impl JsonSchema for StoredConfig {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "StoredConfig".into()
    }

    /// The command's schema without the CSV branch's `text`.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        let mut schema = settings.into_generator().into_root_schema_for::<SourceConfig>();
        schema.remove("$schema");
        schema.remove("title");
        let branches = schema.get_mut("oneOf").and_then(Value::as_array_mut);
        for branch in branches.into_iter().flatten() {
            if let Some(properties) = branch["properties"].as_object_mut() {
                properties.remove("text");
            }
        }
        schema
    }
}
