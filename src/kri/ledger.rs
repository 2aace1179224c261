//! The `ledger` source: the platform measures itself.
//!
//! The payload is the reading itself, written as JSON: counts, and the positions up to which they hold. Whoever counts
//! the same logs up to the same positions arrives at the same digest.

use counterfoil_events::kri::ledger::{LedgerReading, LedgerSource};

use super::credential::Credential;
use super::{Connector, ConnectorError, RunContext, Sample};

/// Where the counts come from.
///
/// Contract: the counts are those of the window that ends at `context.at`, of `context.tenant` alone, and they
/// are complete up to the positions given.
pub trait LedgerMetrics: Send + Sync {
    /// Counts what `source` asks for.
    fn read(
        &self,
        source: &LedgerSource,
        context: RunContext,
    ) -> impl Future<Output = Result<LedgerReading, LedgerUnavailable>> + Send;
}

/// The figures cannot be read now.
#[derive(Debug, thiserror::Error)]
#[error("ledger metrics: {detail}")]
pub struct LedgerUnavailable {
    /// For the operator's log.
    pub detail: String,
}

pub(super) struct LedgerConnector<L> {
    metrics: L,
}

impl<L> LedgerConnector<L> {
    pub(super) fn new(metrics: L) -> Self {
        Self { metrics }
    }
}

impl<L: LedgerMetrics> Connector for LedgerConnector<L> {
    type Source = LedgerSource;

    async fn sample(
        &self,
        source: &LedgerSource,
        context: RunContext,
        _: Option<&Credential>,
    ) -> Result<Sample, ConnectorError> {
        let reading = self.metrics.read(source, context).await?;
        let value = reading.counts.measure(source.metric())?;
        let mut sample = Sample::of(&payload(&reading)?, value, Some(context.at));
        sample.measurement.positions = Some(reading.positions);
        Ok(sample)
    }
}

/// Field order is that of the types, and the positions are sorted: one reading, one text.
fn payload(reading: &LedgerReading) -> Result<String, LedgerUnavailable> {
    serde_json::to_string(reading).map_err(|error| LedgerUnavailable {
        detail: error.to_string(),
    })
}
