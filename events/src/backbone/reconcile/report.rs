//! What reconciling finds, and what repairing did; for tables and JSON.

use serde::Serialize;

use crate::ids::{DocumentDigest, Position, TenantId};
use crate::verify::LossPart;

/// Consecutive positions that a copy lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Where in the log it is.
    pub part: LossPart,
    /// The first one.
    pub first: Position,
    /// The last one.
    pub last: Position,
}

impl Gap {
    /// How many events it has.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.last.0.saturating_sub(self.first.0) + 1
    }
}

/// One tenant's two copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantReport {
    /// Whose.
    pub tenant: TenantId,
    /// Where the ledger ends; none when it does not know the tenant.
    pub ledger_head: Option<Position>,
    /// The stream's first position of it.
    pub stream_first: Option<Position>,
    /// The stream's last position of it.
    pub stream_last: Option<Position>,
    /// Why it takes no appends.
    pub quarantine: Option<String>,
    /// Events that the stream discarded for their age or its size, which is as it should be.
    pub discarded_events: u64,
    /// What the stream lacks.
    pub missing_in_stream: Vec<Gap>,
    /// What the ledger lacks and the stream has.
    pub missing_in_ledger: Vec<Gap>,
    /// Positions at which they hold different events.
    pub different_events: u64,
    /// The first of them.
    pub first_different: Option<Position>,
    /// Messages that repeat an event. Who follows the stream drops what is at or below its cursor.
    pub repeated_messages: u64,
}

impl TenantReport {
    /// Whether both copies hold the same, as far as the stream retains.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.missing_in_stream.is_empty() && self.missing_in_ledger.is_empty() && self.different_events == 0
    }
}

/// One partition's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    /// Which.
    pub partition: u32,
    /// Whether there is such a stream.
    pub present: bool,
    /// How many messages were read.
    pub messages: u64,
    /// Messages that are no events of ours, or whose body is not what was hashed.
    pub strange_messages: u64,
    /// Its tenants, by id.
    pub tenants: Vec<TenantReport>,
}

impl PartitionReport {
    /// Whether the stream and the ledger hold the same.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.strange_messages == 0 && self.tenants.iter().all(TenantReport::agrees)
    }

    /// Whether the stream is not what the ledger would make it, but for its end.
    #[must_use]
    pub(super) fn needs_refill(&self) -> bool {
        // The end is what a relay fills by itself.
        let lost = |gap: &Gap| gap.part != LossPart::Tail;
        let damaged = |tenant: &TenantReport| tenant.missing_in_stream.iter().any(lost);
        self.strange_messages > 0 || self.tenants.iter().any(damaged)
    }

    /// Whether the stream ends before the ledger does.
    #[must_use]
    pub(super) fn lacks_its_end(&self) -> bool {
        let lacks = |tenant: &TenantReport| {
            tenant
                .missing_in_stream
                .iter()
                .any(|gap| gap.part == LossPart::Tail)
        };
        self.tenants.iter().any(lacks)
    }
}

/// All partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    /// By number.
    pub partitions: Vec<PartitionReport>,
}

impl Reconciliation {
    /// Whether all copies agree and no tenant is in quarantine.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let free = |partition: &PartitionReport| partition.tenants.iter().all(|t| t.quarantine.is_none());
        self.partitions
            .iter()
            .all(|partition| partition.agrees() && free(partition))
    }
}

/// What was put back into the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Whose.
    pub tenant: TenantId,
    /// How many events.
    pub events: u64,
    /// Where its log ends now.
    pub head: Position,
    /// Documents that the events refer to and that are gone: they are not on the stream. A backup may have them.
    pub missing_documents: Vec<DocumentDigest>,
    /// Why not more, if there was more.
    pub stopped: Option<String>,
}

/// What repairing did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Repair {
    /// What was put back into the ledger.
    pub restored: Vec<Restored>,
    /// Partitions whose stream was made anew.
    pub refilled: Vec<u32>,
    /// Tenants that take appends again.
    pub released: Vec<TenantId>,
    /// What is left to people, by tenant, with what to do.
    pub left: Vec<(TenantId, String)>,
}
