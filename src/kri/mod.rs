//! Connectors: how the value of a KRI is fetched from its source.
//!
//! One call takes a [`SourceConfig`] to a [`Sample`]; *test* and *run* are two views of the same sample, so that a
//! test cannot succeed where the run would fail. Connectors read, they never write: the outside effect is a GET, and
//! what follows from it is decided by whoever called (`KriRunCompleted`, `KriRunFailed`).
//!
//! Everything fetched goes through the network [`guard`], which lets no tenant's URL reach a private address.

pub mod config;
pub mod credential;
mod csv;
mod error;
pub mod fetch;
pub mod guard;
mod http_json;
mod ledger;
mod observed;
pub mod platform;
mod sample;
pub mod target;

use counterfoil_events::ids::TenantId;
use counterfoil_events::kri::source::SourceConfig;
use counterfoil_events::timestamp::Timestamp;

pub use self::csv::{Reading, readings};
pub use self::error::ConnectorError;
pub use self::ledger::{LedgerMetrics, LedgerUnavailable};
pub use self::sample::{Measurement, Sample, TestReport};

use self::config::FetchConfig;
use self::credential::{Credential, CredentialError};
use self::fetch::Fetcher;

/// For whom and when a source is sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunContext {
    /// Whose source it is.
    pub tenant: TenantId,
    /// The instant of the run.
    pub at: Timestamp,
}

/// One kind of source.
///
/// Contract: `sample` has no effect but reading; it ends within the configured time, holds at most the configured
/// bytes, and gives the same value for the same bytes. Its error's code and text hold nothing that the source said.
pub trait Connector {
    /// What it takes.
    type Source;

    /// Fetches, with the credential that somebody has opened for this fetch if the source names one, and computes.
    fn sample(
        &self,
        source: &Self::Source,
        context: RunContext,
        credential: Option<&Credential>,
    ) -> impl Future<Output = Result<Sample, ConnectorError>> + Send;
}

/// All connectors, by kind of source.
pub struct Connectors<L> {
    csv: csv::CsvConnector,
    http_json: http_json::HttpJsonConnector,
    ledger: ledger::LedgerConnector<L>,
}

impl<L: LedgerMetrics> Connectors<L> {
    /// Connectors that fetch within `config` and read the platform's own figures from `metrics`.
    #[must_use]
    pub fn new(config: &FetchConfig, metrics: L) -> Self {
        let fetcher = Fetcher::new(config);
        Self {
            csv: csv::CsvConnector::new(fetcher.clone()),
            http_json: http_json::HttpJsonConnector::new(fetcher),
            ledger: ledger::LedgerConnector::new(metrics),
        }
    }

    /// Fetches once, with the credential that the source names if it names one, and says what would be measured.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn test(
        &self,
        source: &SourceConfig,
        context: RunContext,
        credential: Option<&Credential>,
    ) -> Result<TestReport, ConnectorError> {
        let sample = self.sample(source, context, credential).await?;
        Ok(TestReport::new(source.kind(), sample))
    }

    /// Fetches and measures.
    ///
    /// # Errors
    /// When the source cannot be reached, may not be reached, or holds no value where it should.
    pub async fn run(
        &self,
        source: &SourceConfig,
        context: RunContext,
        credential: Option<&Credential>,
    ) -> Result<Measurement, ConnectorError> {
        let sample = self.sample(source, context, credential).await?;
        Ok(sample.measurement)
    }

    async fn sample(
        &self,
        source: &SourceConfig,
        context: RunContext,
        credential: Option<&Credential>,
    ) -> Result<Sample, ConnectorError> {
        if let (Some(named), None) = (source.credential(), credential) {
            return Err(CredentialError::not_opened(named).into());
        }
        match source {
            SourceConfig::Csv(source) => self.csv.sample(source, context, credential).await,
            SourceConfig::HttpJson(source) => self.http_json.sample(source, context, credential).await,
            SourceConfig::Ledger(source) => self.ledger.sample(source, context, credential).await,
        }
    }
}

/// Judges a source when it is defined, without fetching anything: its URL, and a CSV text in hand from first to last
/// line. Whether a *name* may be reached is only known when it is resolved, at each fetch.
///
/// # Errors
/// With what a first run would say.
pub fn check(config: &FetchConfig, source: &SourceConfig) -> Result<(), ConnectorError> {
    if let Some(url) = source.url() {
        let target = target::Target::parse(url.as_str())?;
        config.guard().admit_literal(&target)?;
        // To a name in the operator's own network it may be: that is known when it is resolved.
        if source.credential().is_some() && !target.is_https() && config.allow_private.is_empty() {
            return Err(ConnectorError::CredentialInClear);
        }
    }
    match source {
        SourceConfig::Csv(source) => csv::check(source),
        SourceConfig::HttpJson(_) | SourceConfig::Ledger(_) => Ok(()),
    }
}

#[cfg(test)]
mod fixture_tests;
#[cfg(test)]
mod tests;
