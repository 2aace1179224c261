//! How the backbone stands, for `/ready`, `status` and metrics. Written by the relays, read by anyone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backbone::compare::Finding;
use crate::background::Heartbeat;
use crate::ids::TenantId;

/// A relay whose loop has not turned for so long hangs; it turns each second when it has nothing to do.
const STALLED_S: u64 = 30;

/// Whether the ledger's heads have been compared with the stream since NATS was connected to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeadState {
    /// Not yet: NATS has been away since the start, or is again. Events that a restored database lost would go
    /// unnoticed.
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

impl PartitionStatus {
    fn trouble(&self) -> Option<String> {
        let age_s = self.heartbeat.age().as_secs();
        if age_s > STALLED_S {
            return Some(format!("the relay has not turned for {age_s} s"));
        }
        if let Some(problem) = &self.problem {
            return Some(format!("not published: {problem}"));
        }
        if self.head == HeadState::Unverified {
            return Some(
                "head: unverified; the stream has not been compared with the ledger since the last connection"
                    .to_owned(),
            );
        }
        let first = self.findings.keys().next()?;
        Some(format!(
            "{} tenants in quarantine, {first} among them: their copies disagree; run `counterfoil audit reconcile`",
            self.findings.len()
        ))
    }
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

    /// What an operator should know, in the order of its weight; none if all is well.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.lock()
            .iter()
            .find_map(|(partition, status)| Some(format!("partition {partition}: {}", status.trouble()?)))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_keeps_a_partition_from_being_published_is_named_before_what_follows_from_it() {
        let status = BackboneStatus::default();
        assert_eq!(status.trouble(), None);
        status.register(0, Heartbeat::new("relay-0"));
        assert!(status.trouble().unwrap().contains("head: unverified"));
        status.update(0, |partition| partition.problem = Some("no space".to_owned()));
        assert_eq!(status.trouble().unwrap(), "partition 0: not published: no space");
        status.update(0, |partition| {
            partition.problem = None;
            partition.head = HeadState::Verified;
        });
        assert_eq!(status.trouble(), None);
    }
}
