//! The platform's own figures for `ledger` sources: counted from the tenant's log itself, up to its head.

use counterfoil_consumers::kri::{Failure, Measure, Measurement};
use counterfoil_events::actor::Actor;
use counterfoil_events::command::CommandContext;
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::kri::aggregates::PositionVector;
use counterfoil_events::kri::ledger::{CompletionCounts, LedgerReading, LedgerSource};
use counterfoil_events::kri::source::SourceConfig;
use counterfoil_events::ledger::{self, LogReader};
use counterfoil_events::text::Code;
use counterfoil_events::timestamp::Timestamp;
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::credential::Credentials;
use super::{ConnectorError, Connectors, LedgerMetrics, LedgerUnavailable, RunContext};

/// Why a runner opens a credential, as it stands in the log.
const KRI_RUN: Code = Code::literal("kri_run");

/// One pass over the window on the primary key. A completion is decided by its first event; a failure counts in the
/// window in which it was recorded, for completions that were decided in it.
const COUNT: &str = "
    SELECT count(*) FILTER (WHERE e.type IN ('CompletionAuthorized', 'CompletionDenied')),
           count(*) FILTER (WHERE e.type = 'CompletionDenied'),
           count(*) FILTER (WHERE e.type = 'CompletionFailed' AND EXISTS (
               SELECT FROM counterfoil.events d
               WHERE d.tenant_id = e.tenant_id AND d.aggregate = 'completion' AND d.aggregate_id = e.aggregate_id
                 AND d.sequence = 1 AND d.position > $2
                 AND ($4::text IS NULL OR d.envelope::json -> 'payload' ->> 'agent' = $4)))
    FROM counterfoil.events e
    WHERE e.tenant_id = $1 AND e.position > $2 AND e.position <= $3 AND e.aggregate = 'completion'
      AND (e.type = 'CompletionFailed' OR $4::text IS NULL OR e.envelope::json -> 'payload' ->> 'agent' = $4)";

/// Counts completions in the log.
#[derive(Clone)]
pub struct PlatformFigures {
    reader: LogReader,
    pool: PgPool,
}

impl PlatformFigures {
    /// On the log's pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self {
            reader: LogReader::new(pool.clone()),
            pool,
        }
    }

    async fn count(&self, source: &LedgerSource, context: RunContext) -> Result<LedgerReading, sqlx::Error> {
        let until = self.reader.position_as_of(context.tenant, context.at).await?;
        let begin = context.at.as_datetime() - chrono::Duration::seconds(i64::from(source.window_s()));
        let after = self
            .reader
            .position_as_of(context.tenant, Timestamp::from(begin))
            .await?;
        let query = sqlx::query_as(COUNT)
            .bind(context.tenant.0)
            .bind(after.as_i64())
            .bind(until.as_i64())
            .bind(source.agent_id().map(|agent| agent.to_string()));
        let counts: Option<(i64, i64, i64)> = ledger::one(&self.pool, query).await?;
        let (total, denied, failed) = counts.ok_or(sqlx::Error::RowNotFound)?;
        let count = |value: i64| Position::from_i64(value).0;
        let positions = PositionVector::try_from(BTreeMap::from([(context.tenant, until)]));
        Ok(LedgerReading {
            counts: CompletionCounts {
                total: count(total),
                denied: count(denied),
                failed: count(failed),
            },
            // One log is never too many.
            positions: positions.map_err(|error| sqlx::Error::Decode(error.into()))?,
        })
    }
}

impl LedgerMetrics for PlatformFigures {
    async fn read(
        &self,
        source: &LedgerSource,
        context: RunContext,
    ) -> Result<LedgerReading, LedgerUnavailable> {
        self.count(source, context)
            .await
            .map_err(|error| LedgerUnavailable {
                detail: error.to_string(),
            })
    }
}

/// What the runner needs: connectors, and what opens the credentials of sources.
pub struct SourceReader {
    /// Fetch and compute.
    pub connectors: Arc<Connectors<PlatformFigures>>,
    /// Open what sources name.
    pub credentials: Credentials,
}

impl SourceReader {
    async fn read(
        &self,
        tenant: TenantId,
        source: &SourceConfig,
        at: Timestamp,
    ) -> Result<super::Measurement, ConnectorError> {
        let who = CommandContext {
            tenant,
            actor: Actor::system("kri-runner"),
            request_id: uuid::Uuid::now_v7().to_string(),
            traceparent: None,
            causation: None,
            idempotency: None,
        };
        let credential = self.credentials.of(source, &who, KRI_RUN).await?;
        let context = RunContext { tenant, at };
        self.connectors.run(source, context, credential.as_ref()).await
    }
}

impl Measure for SourceReader {
    async fn measure(
        &self,
        tenant: TenantId,
        source: SourceConfig,
        at: Timestamp,
    ) -> Result<Measurement, Failure> {
        let measured = self.read(tenant, &source, at).await;
        let measured = measured.map_err(|error| Failure {
            code: error.code(),
            detail: error.detail().unwrap_or_else(|| error.to_string()),
        })?;
        Ok(Measurement {
            value: measured.value,
            observed_at: measured.observed_at,
            payload_digest: measured.payload_digest,
            payload_bytes: measured.payload_bytes,
            positions: measured.positions,
        })
    }
}
