//! Where a KRI's values come from: the configuration of a source, as commands carry and events keep it.
//!
//! Each kind holds only what was checked: names are bounded, pointers valid, a CSV source has exactly one
//! origin. A CSV text given in a command is kept as a document of the log, so what an event holds of it
//! is its reference; [`CsvSource::attach`] and [`CsvSource::with_text`] convert between the two.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ledger::LedgerSource;
use super::pointer::JsonPointer;
use super::text::{ColumnName, CredentialHeader, FilterValue, SourceUrl};
use crate::document::{Document, DocumentRef, DocumentTooLarge, MAX_DOCUMENT_BYTES};
use crate::secret::SecretName;

/// A source, by kind.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SourceConfig {
    /// A CSV document, attached or fetched.
    Csv(CsvSource),
    /// A number in a JSON document that is fetched.
    HttpJson(HttpJsonSource),
    /// The tenant's own log.
    Ledger(LedgerSource),
}

impl SourceConfig {
    /// The kind as written on the wire.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Csv(_) => "csv",
            Self::HttpJson(_) => "http_json",
            Self::Ledger(_) => "ledger",
        }
    }

    /// The address it fetches from, if it fetches at all.
    #[must_use]
    pub fn url(&self) -> Option<&SourceUrl> {
        match self {
            Self::Csv(CsvSource {
                origin: CsvOrigin::Url(url),
                ..
            }) => Some(url),
            Self::HttpJson(source) => Some(&source.url),
            Self::Csv(_) | Self::Ledger(_) => None,
        }
    }

    /// The credential that it is fetched with, if any.
    #[must_use]
    pub fn credential(&self) -> Option<&SourceCredential> {
        match self {
            Self::Csv(source) => source.credential.as_ref(),
            Self::HttpJson(source) => source.credential.as_ref(),
            Self::Ledger(_) => None,
        }
    }

    /// The document that must be loaded before it can be run, if any.
    #[must_use]
    pub fn document(&self) -> Option<DocumentRef> {
        match self {
            Self::Csv(CsvSource {
                origin: CsvOrigin::Document(reference),
                ..
            }) => Some(*reference),
            _ => None,
        }
    }
}

/// A number in a fetched JSON document.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpJsonSource {
    /// Where the document is.
    pub url: SourceUrl,
    /// Where the value stands in it: a number, or a string that holds a decimal.
    pub pointer: JsonPointer,
    /// Where the time of observation stands in it: RFC 3339, or a date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_pointer: Option<JsonPointer>,
    /// What the document is asked for with; none where it is public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<SourceCredential>,
}

/// A credential that is sent along: a header whose whole value is a secret of the same tenant.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceCredential {
    /// The header, such as `authorization`.
    pub header: CredentialHeader,
    /// The secret's name; its purpose has to be `source_credential`.
    pub secret: SecretName,
}

/// A figure computed from one column of a CSV document with a heading line.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawCsvSource", into = "RawCsvSource")]
pub struct CsvSource {
    /// Where the document is.
    pub origin: CsvOrigin,
    /// The column that holds the values.
    pub column: ColumnName,
    /// How the column's values become one.
    pub aggregate: Aggregate,
    /// Which rows count; all by default.
    pub filter: Option<RowFilter>,
    /// The column that holds each row's time of observation: RFC 3339, or a date.
    pub time_column: Option<ColumnName>,
    /// What a URL is asked with; none where the document is public, or in hand.
    pub credential: Option<SourceCredential>,
}

/// Where a CSV document is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CsvOrigin {
    /// In hand. Only in commands and runs, never in events.
    Text(String),
    /// Kept with the log.
    Document(DocumentRef),
    /// Fetched at each run.
    Url(SourceUrl),
}

/// How many values become one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Their exact sum.
    Sum,
    /// Their mean, rounded half to even to twelve digits.
    Mean,
    /// The latest: by the time column if there is one (the later line of two at the same time), else the last line.
    Last,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// How many rows there are. The values themselves are not read.
    Count,
}

/// Rows whose `column` holds exactly `equals`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowFilter {
    /// The column looked at.
    pub column: ColumnName,
    /// The text it must hold, spaces around it aside.
    pub equals: FilterValue,
}

/// A CSV source that is not well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsvSourceError {
    /// No origin, or several.
    #[error("a csv source has exactly one of text, document and url; this one has {given}")]
    Origin {
        /// How many it has.
        given: usize,
    },
    /// A credential, and nobody to show it to.
    #[error("a credential is for a csv source with a url: what is in hand is not asked for")]
    Credential,
    /// A text that is too long to be kept.
    #[error(
        "the CSV text has {bytes} bytes; at most {MAX_DOCUMENT_BYTES} are kept: aggregate it, or serve it from a URL"
    )]
    TextTooLong {
        /// Its length.
        bytes: usize,
    },
    /// U+0000 in the text.
    #[error("the CSV text holds U+0000 at byte {position}")]
    Null {
        /// Where, from 1.
        position: usize,
    },
}

impl CsvSource {
    /// Takes an attached text out as a document to be kept beside the event, leaving its reference.
    ///
    /// # Errors
    /// When the text is over the size of a document; one that was read from JSON never is.
    pub fn attach(mut self) -> Result<(Self, Option<Document>), DocumentTooLarge> {
        let CsvOrigin::Text(text) = self.origin else {
            return Ok((self, None));
        };
        let document = Document::new(text)?;
        self.origin = CsvOrigin::Document(document.reference());
        Ok((self, Some(document)))
    }

    /// The same source with its document's text in hand.
    #[must_use]
    pub fn with_text(mut self, text: String) -> Self {
        self.origin = CsvOrigin::Text(text);
        self
    }
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CsvSource")]
struct RawCsvSource {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<DocumentRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<SourceUrl>,
    column: ColumnName,
    aggregate: Aggregate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filter: Option<RowFilter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time_column: Option<ColumnName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credential: Option<SourceCredential>,
}

impl TryFrom<RawCsvSource> for CsvSource {
    type Error = CsvSourceError;

    fn try_from(raw: RawCsvSource) -> Result<Self, CsvSourceError> {
        let given = usize::from(raw.text.is_some())
            + usize::from(raw.document.is_some())
            + usize::from(raw.url.is_some());
        let origin = match (raw.text, raw.document, raw.url) {
            (Some(text), None, None) => CsvOrigin::Text(check_text(text)?),
            (None, Some(reference), None) => CsvOrigin::Document(reference),
            (None, None, Some(url)) => CsvOrigin::Url(url),
            _ => return Err(CsvSourceError::Origin { given }),
        };
        if raw.credential.is_some() && !matches!(origin, CsvOrigin::Url(_)) {
            return Err(CsvSourceError::Credential);
        }
        Ok(Self {
            origin,
            column: raw.column,
            aggregate: raw.aggregate,
            filter: raw.filter,
            time_column: raw.time_column,
            credential: raw.credential,
        })
    }
}

fn check_text(text: String) -> Result<String, CsvSourceError> {
    if text.len() > MAX_DOCUMENT_BYTES {
        return Err(CsvSourceError::TextTooLong { bytes: text.len() });
    }
    match text.find('\0') {
        Some(index) => Err(CsvSourceError::Null { position: index + 1 }),
        None => Ok(text),
    }
}

impl From<CsvSource> for RawCsvSource {
    fn from(source: CsvSource) -> Self {
        let (text, document, url) = match source.origin {
            CsvOrigin::Text(text) => (Some(text), None, None),
            CsvOrigin::Document(reference) => (None, Some(reference), None),
            CsvOrigin::Url(url) => (None, None, Some(url)),
        };
        Self {
            text,
            document,
            url,
            column: source.column,
            aggregate: source.aggregate,
            filter: source.filter,
            time_column: source.time_column,
            credential: source.credential,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn read(text: &str) -> Result<SourceConfig, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn each_kind_has_one_wire_form() {
        for text in [
            r#"{"kind":"csv","text":"rate\n1","column":"rate","aggregate":"last"}"#,
            r#"{"kind":"csv","url":"https://example.org/a.csv","column":"rate","aggregate":"sum","filter":{"column":"desk","equals":"north"},"time_column":"day"}"#,
            r#"{"kind":"csv","url":"https://example.org/a.csv","column":"rate","aggregate":"sum","credential":{"header":"x-api-key","secret":"risk-feed"}}"#,
            r#"{"kind":"http_json","url":"https://example.org/a","pointer":"/data/0/rate","time_pointer":"/at"}"#,
            r#"{"kind":"http_json","url":"https://example.org/a","pointer":"","credential":{"header":"x-api-key","secret":"risk-feed"}}"#,
            r#"{"kind":"ledger","metric":"denied_share","window_s":86400,"agent_id":"01890000-0000-7000-8000-000000000001"}"#,
        ] {
            assert_eq!(serde_json::to_string(&read(text).unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn a_source_that_is_not_well_formed_is_refused_with_what_is_wrong() {
        for (text, reason) in [
            (
                r#"{"kind":"csv","column":"c","aggregate":"sum"}"#,
                "exactly one of text, document and url; this one has 0",
            ),
            (
                r#"{"kind":"csv","text":"a","url":"http://a.example","column":"c","aggregate":"sum"}"#,
                "this one has 2",
            ),
            (
                r#"{"kind":"csv","text":"a","column":"c","aggregate":"sum","credential":{"header":"x-api-key","secret":"s"}}"#,
                "a credential is for a csv source with a url",
            ),
            (
                r#"{"kind":"csv","text":"a\u0000","column":"c","aggregate":"sum"}"#,
                "U+0000 at byte 2",
            ),
            (
                r#"{"kind":"csv","text":"a","column":"","aggregate":"sum"}"#,
                "a column name is empty",
            ),
            (
                r#"{"kind":"csv","text":"a","column":"c","aggregate":"median"}"#,
                "unknown variant `median`",
            ),
            (
                r#"{"kind":"csv","text":"a","column":"c","aggregate":"sum","sheet":1}"#,
                "unknown field `sheet`",
            ),
            (
                r#"{"kind":"http_json","url":"http://a.example","pointer":"x"}"#,
                "begins with /",
            ),
            (
                r#"{"kind":"http_json","url":"http://a.example","pointer":"","headers":{}}"#,
                "unknown field `headers`",
            ),
            (
                r#"{"kind":"ledger","metric":"denied_share","window_s":1}"#,
                "window_s is 1",
            ),
            (
                r#"{"kind":"http_json","url":"http://a.example","pointer":"","credential":{"header":"Host","secret":"s"}}"#,
                "a credential's header",
            ),
            (
                r#"{"kind":"http_json","url":"http://a.example","pointer":"","credential":{"header":"host","secret":"s"}}"#,
                "a credential's header",
            ),
            (r#"{"kind":"sql","query":"SELECT 1"}"#, "unknown variant `sql`"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn the_published_schema_of_a_source_describes_its_wire_form() {
        insta::assert_json_snapshot!(schemars::schema_for!(SourceConfig));
    }

    #[test]
    fn a_text_at_the_limit_is_taken_and_one_byte_more_is_not() {
        let source = |bytes: usize| {
            let text = "x".repeat(bytes);
            read(&format!(
                r#"{{"kind":"csv","text":"{text}","column":"c","aggregate":"sum"}}"#
            ))
        };
        assert!(source(MAX_DOCUMENT_BYTES).is_ok());
        assert!(
            source(MAX_DOCUMENT_BYTES + 1)
                .unwrap_err()
                .to_string()
                .contains("1048577 bytes")
        );
    }

    #[test]
    fn an_attached_text_becomes_a_document_and_comes_back() {
        let Ok(SourceConfig::Csv(given)) =
            read(r#"{"kind":"csv","text":"rate\n1","column":"rate","aggregate":"last"}"#)
        else {
            panic!("a csv source");
        };
        let (kept, document) = given.clone().attach().unwrap();
        let document = document.unwrap();
        assert_eq!(
            SourceConfig::Csv(kept.clone()).document(),
            Some(document.reference())
        );
        assert_eq!(kept.with_text(document.body().to_owned()), given);
    }
}
