//! The `http_json` source: a number in a JSON document that is fetched at each run.

mod walk;

use counterfoil_events::kri::pointer::JsonPointer;
use counterfoil_events::kri::source::HttpJsonSource;
use counterfoil_events::kri::value::KriValue;
use counterfoil_events::timestamp::Timestamp;

use super::credential::Credential;
use super::error::JsonError;
use super::fetch::Fetcher;
use super::{Connector, ConnectorError, RunContext, Sample, observed};

pub(super) struct HttpJsonConnector {
    fetcher: Fetcher,
}

impl HttpJsonConnector {
    pub(super) fn new(fetcher: Fetcher) -> Self {
        Self { fetcher }
    }
}

impl Connector for HttpJsonConnector {
    type Source = HttpJsonSource;

    async fn sample(
        &self,
        source: &HttpJsonSource,
        _context: RunContext,
        credential: Option<&Credential>,
    ) -> Result<Sample, ConnectorError> {
        let fetched = self
            .fetcher
            .text(source.url.as_str(), "application/json", credential);
        let text = fetched.await?;
        let value = value_at(&text, &source.pointer)?;
        let observed_at = source
            .time_pointer
            .as_ref()
            .map(|pointer| time_at(&text, pointer))
            .transpose()?;
        Ok(Sample::of(&text, value, observed_at).withheld_if_echoed(&text, credential))
    }
}

/// The number at `pointer`, digit for digit as it is written there: no float is made of it on the way.
fn value_at(text: &str, pointer: &JsonPointer) -> Result<KriValue, JsonError> {
    let found = walk::find(text, pointer)?;
    let number = if found.starts_with('"') {
        string(found, pointer)?
    } else {
        found.to_owned()
    };
    let is_number = number.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if !is_number && !found.starts_with('"') {
        return Err(JsonError::NotANumber {
            pointer: place(pointer),
            found: name_of(found),
        });
    }
    number.trim().parse().map_err(|error| JsonError::Value {
        pointer: place(pointer),
        error,
    })
}

fn time_at(text: &str, pointer: &JsonPointer) -> Result<Timestamp, JsonError> {
    let found = walk::find(text, pointer)?;
    let time = serde_json::from_str::<String>(found).ok();
    time.and_then(|time| observed::parse(time.trim()))
        .ok_or_else(|| JsonError::Time {
            pointer: place(pointer),
        })
}

/// The text of a JSON string. One with a broken surrogate pair scans as JSON but is no text.
fn string(found: &str, pointer: &JsonPointer) -> Result<String, JsonError> {
    serde_json::from_str(found).map_err(|_| JsonError::NotANumber {
        pointer: place(pointer),
        found: "a string that is not Unicode",
    })
}

fn place(pointer: &JsonPointer) -> String {
    if pointer.as_str().is_empty() {
        "the document's root".to_owned()
    } else {
        pointer.to_string()
    }
}

fn name_of(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        _ => "null",
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
