//! `COUNTERFOIL_…` variables as a layer of the configuration.
//!
//! `COUNTERFOIL_HTTP__MAX_CONNECTIONS=100` is `http.max_connections = 100`; names without a double underscore
//! (`COUNTERFOIL_CONFIG`, `COUNTERFOIL_URL`) are not ours. Values are read as TOML-like literals, but those of
//! secrets and addresses are taken as they are: a password of digits stays a text, with its leading zeros.

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

const PREFIX: &str = "COUNTERFOIL_";
/// Keys whose values are texts, whatever they look like.
const TEXT_KEYS: [&str; 7] = ["password", "secret", "token", "api_key", "url", "user", "prefix"];

pub(super) struct Environment(Vec<(String, String)>);

impl Environment {
    pub fn new(variables: Vec<(String, String)>) -> Self {
        Self(variables)
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment variables COUNTERFOIL_…")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut data = Dict::new();
        for (name, text) in &self.0 {
            let Some(path) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else {
                continue;
            };
            let path = path.to_ascii_lowercase();
            let segments: Vec<&str> = path.split("__").collect();
            insert(&mut data, &segments, value(&path, text));
        }
        Ok(Map::from([(Profile::Default, data)]))
    }
}

/// The value of a key, from its text.
pub(super) fn value(path: &str, text: &str) -> Value {
    if TEXT_KEYS.iter().any(|key| path.ends_with(key)) {
        return Value::from(text);
    }
    // Parsing a literal never fails: what is nothing else is a text.
    let Ok(value) = text.parse::<Value>();
    value
}

fn insert(dict: &mut Dict, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        dict.insert((*first).to_owned(), value);
        return;
    }
    let mut inner = match dict.remove(*first) {
        Some(Value::Dict(_, inner)) => inner,
        _ => Dict::new(),
    };
    insert(&mut inner, rest, value);
    dict.insert((*first).to_owned(), Value::from(inner));
}
