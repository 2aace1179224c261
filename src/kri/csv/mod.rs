//! The `csv` source: one figure computed from a column of a document, attached or fetched.

mod table;

use counterfoil_events::kri::exact::Exact;
use counterfoil_events::kri::source::{Aggregate, CsvOrigin, CsvSource};
use counterfoil_events::kri::value::{KriValue, ValueError};
use counterfoil_events::timestamp::Timestamp;

use self::table::Table;
use super::credential::Credential;
use super::error::CsvError;
use super::fetch::Fetcher;
use super::{Connector, ConnectorError, RunContext, Sample};

pub(super) struct CsvConnector {
    fetcher: Fetcher,
}

impl CsvConnector {
    pub(super) fn new(fetcher: Fetcher) -> Self {
        Self { fetcher }
    }
}

impl Connector for CsvConnector {
    type Source = CsvSource;

    async fn sample(
        &self,
        source: &CsvSource,
        context: RunContext,
        credential: Option<&Credential>,
    ) -> Result<Sample, ConnectorError> {
        match &source.origin {
            CsvOrigin::Text(text) => Ok(sample(text, source, Some(context.at))?),
            CsvOrigin::Document(_) => Err(ConnectorError::DocumentUnavailable),
            CsvOrigin::Url(url) => {
                let text = self.fetcher.text(url.as_str(), "text/csv", credential).await?;
                Ok(sample(&text, source, Some(context.at))?.withheld_if_echoed(&text, credential))
            }
        }
    }
}

/// One row that counts, read in full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// The line on which the row begins.
    pub line: u64,
    /// Its value.
    pub value: KriValue,
    /// Its time, if the source names a time column.
    pub observed_at: Option<Timestamp>,
}

/// Every row of `text` that passes the source's filter, in the order of the document: the history behind its figure.
///
/// # Errors
/// Names the first line and column that cannot be read.
pub fn readings(text: &str, source: &CsvSource) -> Result<Vec<Reading>, CsvError> {
    let mut table = Table::open(text, source)?;
    let mut readings = Vec::new();
    while let Some(row) = table.next_row()? {
        readings.push(Reading {
            line: row.line(),
            value: row.value()?,
            observed_at: row.observed_at()?,
        });
    }
    Ok(readings)
}

/// Computes the figure of a text in hand, for its error alone.
pub(super) fn check(source: &CsvSource) -> Result<(), ConnectorError> {
    if let CsvOrigin::Text(text) = &source.origin {
        sample(text, source, None)?;
    }
    Ok(())
}

/// The figure as it was at `at`: rows observed later were not known then. So history is loaded by ordinary runs, each
/// as of its own time.
fn sample(text: &str, source: &CsvSource, at: Option<Timestamp>) -> Result<Sample, CsvError> {
    let mut table = Table::open(text, source)?;
    let mut tally = Tally::default();
    while let Some(row) = table.next_row()? {
        let observed_at = row.observed_at()?;
        if at.zip(observed_at).is_some_and(|(at, observed)| observed > at) {
            continue;
        }
        match source.aggregate {
            Aggregate::Count => tally.count(observed_at),
            _ => tally.add(row.value()?, observed_at),
        }
    }
    let value = tally
        .figure(source.aggregate)
        .ok_or(CsvError::NoRows)?
        .map_err(|error| CsvError::Sum {
            column: source.column.clone(),
            error,
        })?;
    let mut sample = Sample::of(text, value, tally.observed_at);
    sample.rows = Some(tally.rows);
    Ok(sample)
}

/// What is kept of the rows as they pass: every figure is computed from this, in constant memory.
#[derive(Default)]
struct Tally {
    rows: u64,
    sum: Exact,
    min: Option<KriValue>,
    max: Option<KriValue>,
    last: Option<KriValue>,
    observed_at: Option<Timestamp>,
}

impl Tally {
    /// Takes a row whose value does not matter. True if none before it has a later time.
    fn count(&mut self, observed_at: Option<Timestamp>) {
        self.rows += 1;
        self.observed_at = self.observed_at.max(observed_at);
    }

    fn add(&mut self, value: KriValue, observed_at: Option<Timestamp>) {
        let is_latest = observed_at >= self.observed_at;
        self.count(observed_at);
        self.sum = self.sum.plus(&value.into());
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = self.max.max(Some(value));
        if is_latest {
            self.last = Some(value);
        }
    }

    /// `None` of no rows: then even a count says nothing about the figure's subject, since a filter that is
    /// misspelt would look like a clean result.
    fn figure(&self, aggregate: Aggregate) -> Option<Result<KriValue, ValueError>> {
        if self.rows == 0 {
            return None;
        }
        match aggregate {
            Aggregate::Sum => Some(self.sum.value()),
            Aggregate::Mean => self.sum.quotient(u128::from(self.rows)),
            Aggregate::Last => self.last.map(Ok),
            Aggregate::Max => self.max.map(Ok),
            Aggregate::Min => self.min.map(Ok),
            Aggregate::Count => Some(Ok(self.rows.into())),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
