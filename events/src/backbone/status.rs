//! How the backbone stands, for `/ready`, `status` and metrics. Written by the relays, read by anyone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backbone::compare::Finding;
use crate::backbone::heartbeat::Heartbeat;
use crate::ids::TenantId;

/// Whether the ledger's heads have been compared with the stream since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeadState {
    /// Not yet: NATS has been away since the start. Events that a restored database lost would go unnoticed.
    #[default]
    Unverified,
    /// Compared; what disagrees is in quarantine.
    Verified,
}

/// How one partition stands.
#[derive(Debug, Clone)]
pub struct PartitionStatus {
    /// Compared with the stream or not.
    pub head: HeadState,
    /// Whether this process publishes it (another one may).
    pub leading: bool,
    /// Events that are committed and not yet acknowledged by the stream; known to the leader only.
    pub lag_events: u64,
    /// Events published by this process since its start.
    pub published_events: u64,
    /// Tenants whose copies disagree.
    pub findings: BTreeMap<TenantId, Finding>,
    /// Why it does not publish, where it does not.
    pub problem: Option<String>,
    /// The relay's.
    pub heartbeat: Heartbeat,
}

/// How all partitions stand. Clones are one status.
#[derive(Debug, Clone, Default)]
pub struct BackboneStatus {
    partitions: Arc<Mutex<BTreeMap<u32, PartitionStatus>>>,
}

impl BackboneStatus {
    /// Every partition that a relay of this process looks after.
    #[must_use]
    pub fn partitions(&self) -> BTreeMap<u32, PartitionStatus> {
        self.lock().clone()
    }

    /// Whether every partition has been compared with its stream.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        let partitions = self.lock();
        !partitions.is_empty()
            && partitions
                .values()
                .all(|status| status.head == HeadState::Verified)
    }

    pub(super) fn register(&self, partition: u32, heartbeat: Heartbeat) {
        let status = PartitionStatus {
            head: HeadState::Unverified,
            leading: false,
            lag_events: 0,
            published_events: 0,
            findings: BTreeMap::new(),
            problem: None,
            heartbeat,
        };
        self.lock().insert(partition, status);
    }

    pub(super) fn update(&self, partition: u32, change: impl FnOnce(&mut PartitionStatus)) {
        if let Some(status) = self.lock().get_mut(&partition) {
            change(status);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, PartitionStatus>> {
        // Plain values, each written whole: a panic elsewhere cannot leave them half changed.
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
