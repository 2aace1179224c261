//! Why a source gave no value.
//!
//! Three audiences, three texts. `code` is stable and stands in events. The `Display` text is for the source's owner: it
//! holds our words, numbers, and names from the source's own configuration, never anything that the source
//! answered, so it may stand in an event too. `detail` is for the operator's log alone.

use counterfoil_events::kri::ledger::CountError;
use counterfoil_events::kri::text::ColumnName;
use counterfoil_events::kri::value::ValueError;
use counterfoil_events::text::Code;

use super::credential::CredentialError;
use super::guard::RefusedAddress;
use super::ledger::LedgerUnavailable;
use super::target::TargetError;

/// Any failure of a connector.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The URL itself.
    #[error(transparent)]
    Url(#[from] TargetError),
    /// The host is, or resolves to, an address that the guard refuses.
    #[error(
        "the host leads to an address that is not public; private networks are reached only where the operator allows them (kri.fetch.allow_private)"
    )]
    AddressRefused(#[from] RefusedAddress),
    /// A credential over a connection that others can read.
    #[error(
        "the source has a credential, which is sent over https only; http is for private addresses that the operator allows (kri.fetch.allow_private)"
    )]
    CredentialInClear,
    /// Its credential cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The host's name has no address.
    #[error("the name {host} cannot be resolved")]
    HostUnresolved {
        /// The name.
        host: String,
        /// What the resolver said.
        detail: String,
    },
    /// No connection, or no TLS over it.
    #[error("no connection to the source: it is down, refuses, or its certificate is not trusted")]
    ConnectFailed {
        /// What the connection said.
        detail: String,
    },
    /// Too slow.
    #[error("the source did not answer in full within {limit_ms} ms")]
    TimedOut {
        /// The limit that was passed.
        limit_ms: u64,
    },
    /// A redirect.
    #[error("the source answers {status}, a redirect, which is not followed: give the final URL")]
    Redirected {
        /// The status.
        status: u16,
    },
    /// Any other answer than success.
    #[error("the source answers {status} instead of 200")]
    HttpStatus {
        /// The status.
        status: u16,
    },
    /// Over the size limit.
    #[error("the source's answer is over {limit_bytes} bytes")]
    PayloadTooLarge {
        /// The limit that was passed.
        limit_bytes: usize,
    },
    /// The answer broke off, or was not HTTP.
    #[error("the source's answer broke off or is not HTTP")]
    Interrupted {
        /// What the connection said.
        detail: String,
    },
    /// Bytes that are no text.
    #[error("the source's answer is not UTF-8 (byte {position})")]
    NotUtf8 {
        /// Where, from 1.
        position: usize,
    },
    /// The document that the source keeps with the log was not given to the run.
    #[error("the source's CSV document is not at hand")]
    DocumentUnavailable,
    /// A JSON document without the value.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A CSV document without the value.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// Counts without a value.
    #[error(transparent)]
    Counts(#[from] CountError),
    /// The platform's own figures cannot be read now.
    #[error("the platform's own figures cannot be read at the moment")]
    LedgerUnavailable(#[from] LedgerUnavailable),
}

/// What is wrong with a JSON document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON.
    #[error("the source's answer is not JSON (line {line}, column {column})")]
    NotJson {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// Nothing where the pointer points.
    #[error("the pointer {pointer} finds nothing: step {step} leads nowhere")]
    NotFound {
        /// The pointer.
        pointer: String,
        /// The first step that fails, from 1.
        step: usize,
    },
    /// A member that occurs twice: readers disagree on which one counts.
    #[error("the pointer {pointer} is ambiguous: the member of step {step} occurs more than once")]
    Ambiguous {
        /// The pointer.
        pointer: String,
        /// The step, from 1.
        step: usize,
    },
    /// Something else than a number or a string.
    #[error("at {pointer} stands {found}, not a number")]
    NotANumber {
        /// The pointer.
        pointer: String,
        /// What stands there.
        found: &'static str,
    },
    /// A number that is not one of ours.
    #[error("at {pointer}: {error}")]
    Value {
        /// The pointer.
        pointer: String,
        /// What is wrong with it.
        error: ValueError,
    },
    /// A time that cannot be read.
    #[error(
        "at {pointer} stands no time: it must be a string with a date (2026-11-20) or RFC 3339, from 1970 to 9999"
    )]
    Time {
        /// The pointer.
        pointer: String,
    },
}

/// What is wrong with a CSV document. Lines and columns are counted from 1; the heading is line 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// Not a table: rows of different length, or a quote that is not closed.
    #[error("line {line}: the row has {found} fields where the heading has {expected}")]
    Ragged {
        /// Where the row begins.
        line: u64,
        /// How many fields it has.
        found: u64,
        /// How many it should have.
        expected: u64,
    },
    /// Unreadable for another reason.
    #[error("line {line}: the row cannot be read as CSV (RFC 4180)")]
    Malformed {
        /// Where the row begins.
        line: u64,
    },
    /// An odd number of quotes.
    #[error("a quote (\") is opened and never closed")]
    UnclosedQuote,
    /// More columns than any table has.
    #[error("the heading has {found} columns; at most {limit} are read")]
    TooManyColumns {
        /// How many there are.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// No heading, or not that column in it.
    #[error("the heading (line 1) has no column {column}; fields are separated by commas")]
    ColumnMissing {
        /// The column looked for.
        column: ColumnName,
    },
    /// That column twice.
    #[error("the heading (line 1) has more than one column {column}")]
    ColumnAmbiguous {
        /// The column looked for.
        column: ColumnName,
    },
    /// No row to compute from.
    #[error("no row to compute from: the document has no rows, or none that passes the filter")]
    NoRows,
    /// An empty field.
    #[error("line {line}, column {column}: the value is missing")]
    ValueMissing {
        /// Where.
        line: u64,
        /// Where.
        column: ColumnName,
    },
    /// A field that is no value of ours.
    #[error("line {line}, column {column}: {error}")]
    Value {
        /// Where.
        line: u64,
        /// Where.
        column: ColumnName,
        /// What is wrong with it.
        error: ValueError,
    },
    /// A field that is no time.
    #[error(
        "line {line}, column {column}: no time; it must be a date (2026-11-20) or RFC 3339, from 1970 to 9999"
    )]
    Time {
        /// Where.
        line: u64,
        /// Where.
        column: ColumnName,
    },
    /// A sum beyond what a value holds.
    #[error("the sum of column {column} cannot be kept exactly: {error}")]
    Sum {
        /// Which column.
        column: ColumnName,
        /// What is wrong with it.
        error: ValueError,
    },
}

impl ConnectorError {
    /// The stable code, as it stands in events and problem documents.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Url(_) => const { Code::literal("url_refused") },
            Self::AddressRefused(_) => const { Code::literal("address_refused") },
            Self::CredentialInClear => const { Code::literal("credential_in_clear") },
            Self::Credential(_) => const { Code::literal("credential_unusable") },
            Self::HostUnresolved { .. } => const { Code::literal("host_unresolved") },
            Self::ConnectFailed { .. } => const { Code::literal("connect_failed") },
            Self::TimedOut { .. } => const { Code::literal("timed_out") },
            Self::Redirected { .. } => const { Code::literal("redirect_refused") },
            Self::HttpStatus { .. } => const { Code::literal("http_status") },
            Self::PayloadTooLarge { .. } => const { Code::literal("payload_too_large") },
            Self::Interrupted { .. } => const { Code::literal("answer_interrupted") },
            Self::NotUtf8 { .. } => const { Code::literal("payload_not_utf8") },
            Self::DocumentUnavailable => const { Code::literal("document_unavailable") },
            Self::Json(error) => error.code(),
            Self::Csv(error) => error.code(),
            Self::Counts(CountError::NoTotal) => const { Code::literal("ledger_no_value") },
            Self::Counts(_) => const { Code::literal("ledger_counts_invalid") },
            Self::LedgerUnavailable(_) => const { Code::literal("ledger_unavailable") },
        }
    }

    /// What only the operator's log may say: addresses, and the words of other programs.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::AddressRefused(refused) => Some(refused.to_string()),
            Self::HostUnresolved { detail, .. }
            | Self::ConnectFailed { detail }
            | Self::Interrupted { detail } => Some(detail.clone()),
            Self::Credential(unusable) => Some(unusable.detail.clone()),
            Self::LedgerUnavailable(unavailable) => Some(unavailable.to_string()),
            _ => None,
        }
    }

    /// Whether the same run may succeed later without anyone changing the source.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::HostUnresolved { .. }
            | Self::ConnectFailed { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted { .. }
            | Self::LedgerUnavailable(_) => true,
            Self::Credential(unusable) => unusable.passes,
            Self::HttpStatus { status } => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }
}

impl JsonError {
    fn code(&self) -> Code {
        match self {
            Self::NotJson { .. } => const { Code::literal("payload_not_json") },
            Self::NotFound { .. } => const { Code::literal("pointer_not_found") },
            Self::Ambiguous { .. } => const { Code::literal("pointer_ambiguous") },
            Self::NotANumber { .. } => const { Code::literal("value_not_a_number") },
            Self::Value { .. } => const { Code::literal("value_invalid") },
            Self::Time { .. } => const { Code::literal("time_invalid") },
        }
    }
}

impl CsvError {
    fn code(&self) -> Code {
        match self {
            Self::Ragged { .. }
            | Self::Malformed { .. }
            | Self::UnclosedQuote
            | Self::TooManyColumns { .. } => const { Code::literal("csv_malformed") },
            Self::ColumnMissing { .. } => const { Code::literal("csv_column_missing") },
            Self::ColumnAmbiguous { .. } => const { Code::literal("csv_column_ambiguous") },
            Self::NoRows => const { Code::literal("csv_no_rows") },
            Self::ValueMissing { .. } => const { Code::literal("value_missing") },
            Self::Value { .. } | Self::Sum { .. } => const { Code::literal("value_invalid") },
            Self::Time { .. } => const { Code::literal("time_invalid") },
        }
    }
}
