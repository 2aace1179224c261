//! Damage in a log, and whom it concerns.
//!
//! What cannot be read might have been a revocation. In a tenant's log it could only have been about that tenant's
//! agents, keys and policies: they are denied, and nobody else. In the platform's log it could have been about anybody.
//! An event that is *unknown* is no damage: this build is too old for the log, whoever's it stands in.

use sqlx::PgPool;
use uuid::Uuid;

use crate::command::LoadError;
use crate::ids::{Sequence, TenantId};
use crate::ledger::StoredEvent;
use crate::schema::DecodeError;
use crate::security::change::FoldError;
use crate::security::feed::{FeedError, Range};

/// Ranges that hold fewer events than they must. On the primary key.
const INCOMPLETE: &str = "SELECT want.tenant_id \
                          FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS want (tenant_id, after, until) \
                          WHERE (SELECT count(*) FROM counterfoil.events e \
                                 WHERE e.tenant_id = want.tenant_id AND e.position > want.after \
                                   AND e.position <= want.until) <> want.until - want.after";

/// The log of a tenant cannot be read to its end, so that nothing can be said of its agents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log of tenant {tenant} is damaged: {reason}")]
pub struct DamagedLog {
    /// Whose.
    pub tenant: TenantId,
    /// What was found.
    pub reason: String,
}

/// Whether an error concerns the one log that it was found in, which it does for a tenant's damaged event.
pub(super) fn is_of_one_log(tenant: TenantId, error: &FoldError) -> bool {
    let is_damage = match error {
        FoldError::Load(LoadError::Damaged { .. } | LoadError::Decode(DecodeError::Malformed { .. })) => true,
        FoldError::Damaged { .. } | FoldError::Missing { .. } => true,
        FoldError::Load(_) | FoldError::UnknownAggregate(_) => false,
    };
    is_damage && !tenant.is_platform()
}

/// The ranges that lack events in the middle or at the end.
pub(super) async fn incomplete(pool: &PgPool, ranges: &[Range]) -> Result<Vec<Range>, FeedError> {
    let column = |of: fn(&Range) -> i64| ranges.iter().map(of).collect::<Vec<_>>();
    let tenants: Vec<Uuid> = ranges.iter().map(|range| range.tenant.0).collect();
    let lacking: Vec<Uuid> = sqlx::query_scalar(INCOMPLETE)
        .bind(tenants)
        .bind(column(|range| range.after.as_i64()))
        .bind(column(|range| range.until.as_i64()))
        .fetch_all(pool)
        .await?;
    let lacks = |range: &&Range| lacking.contains(&range.tenant.0);
    Ok(ranges.iter().filter(lacks).copied().collect())
}

/// Where the aggregate that is being read stands, to notice an event that is not there. For reads of whole logs,
/// aggregate by aggregate.
#[derive(Default)]
pub(super) struct Sequences {
    aggregate: Option<(TenantId, String, String)>,
    last: Sequence,
}

impl Sequences {
    /// Takes the next event.
    ///
    /// # Errors
    /// When one before it is missing.
    pub(super) fn take(&mut self, event: &StoredEvent) -> Result<(), FoldError> {
        let tenant = event.recorded.tenant;
        let is_next = self.aggregate.as_ref().is_some_and(|(of, kind, id)| {
            *of == tenant && *kind == event.aggregate && *id == event.aggregate_id
        });
        if !is_next {
            self.aggregate = Some((tenant, event.aggregate.clone(), event.aggregate_id.clone()));
            self.last = Sequence::ZERO;
        }
        let expected = Sequence(self.last.0 + 1);
        self.last = event.sequence;
        if event.sequence == expected {
            return Ok(());
        }
        let what = format!("event {expected} of {}/{}", event.aggregate, event.aggregate_id);
        Err(FoldError::Missing { tenant, what })
    }
}
