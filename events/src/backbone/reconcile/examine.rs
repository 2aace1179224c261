//! Reads every stream once and holds each message to the ledger.
//!
//! The heads are read first, and the relay is given a moment to publish up to them; so what is missing then is lost,
//! and not merely late. Memory is bounded by pages and by the number of holes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::backbone::discarded::discarded_before;
use crate::backbone::genuine::Judge;
use crate::backbone::reconcile::ReconcileError;
use crate::backbone::reconcile::coverage::Coverage;
use crate::backbone::reconcile::report::{Gap, PartitionReport, Reconciliation, TenantReport};
use crate::backbone::scan::{ScannedMessage, StreamScan};
use crate::backbone::{Backbone, BackboneError};
use crate::envelope::RecordedEvent;
use crate::ids::{EventHash, Position, TenantId};
use crate::ledger::{ChainHead, LogReader};
use crate::timestamp::Timestamp;
use crate::verify::LossPart;

/// What a relay that is at rest needs to publish a commit, with room for a busy machine.
const RELAY_GRACE: Duration = Duration::from_secs(2);

/// What the stream holds of one tenant.
#[derive(Default)]
struct Held {
    positions: Coverage,
    not_in_ledger: Coverage,
    different: u64,
    first_different: Option<Position>,
    repeated: u64,
}

#[derive(Default)]
struct Tally {
    messages: u64,
    strange: u64,
    tenants: BTreeMap<TenantId, Held>,
}

/// Compares the streams of `partitions` with the ledger; tells `progress` how many messages it read.
///
/// # Errors
/// When Postgres or NATS do not answer.
pub async fn examine(
    backbone: &Backbone,
    log: &LogReader,
    partitions: u32,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Reconciliation, ReconcileError> {
    let heads = log.heads().await?;
    let highest = heads.iter().map(|head| head.partition + 1).max();
    tokio::time::sleep(RELAY_GRACE).await;
    let mut reports = Vec::new();
    for partition in 0..partitions.max(highest.unwrap_or(0)) {
        let ours: Vec<&ChainHead> = heads.iter().filter(|head| head.partition == partition).collect();
        reports.push(examine_partition(backbone, log, partition, &ours, progress).await?);
    }
    Ok(Reconciliation { partitions: reports })
}

async fn examine_partition(
    backbone: &Backbone,
    log: &LogReader,
    partition: u32,
    heads: &[&ChainHead],
    progress: &(dyn Fn(u64) + Sync),
) -> Result<PartitionReport, ReconcileError> {
    let mut tally = Tally::default();
    let discarded = discarded(backbone, partition).await?;
    if discarded.is_some() {
        let mut scan = StreamScan::open(backbone, partition, None).await?;
        loop {
            let page = scan.next_page().await?;
            if page.is_empty() {
                break;
            }
            progress(page.len() as u64);
            tally.take(backbone, log, page).await?;
        }
    }
    let mut tenants = Vec::new();
    let known: BTreeMap<TenantId, &ChainHead> = heads.iter().map(|head| (head.tenant, *head)).collect();
    let everyone: BTreeSet<TenantId> = known.keys().chain(tally.tenants.keys()).copied().collect();
    for tenant in everyone {
        let held = tally.tenants.remove(&tenant).unwrap_or_default();
        let head = known.get(&tenant).copied();
        tenants.push(report(log, tenant, head, held, discarded.flatten()).await?);
    }
    Ok(PartitionReport {
        partition,
        present: discarded.is_some(),
        messages: tally.messages,
        strange_messages: tally.strange,
        tenants,
    })
}

/// Before when what the stream lacks counts as discarded; the outer none when there is no stream.
async fn discarded(backbone: &Backbone, partition: u32) -> Result<Option<Option<Timestamp>>, BackboneError> {
    let Some(stream) = backbone.find_stream(partition).await? else {
        return Ok(None);
    };
    let info = stream.cached_info();
    let before = discarded_before(backbone, &stream, &info.state, &info.config).await?;
    Ok(Some(before))
}

impl Tally {
    async fn take(
        &mut self,
        backbone: &Backbone,
        log: &LogReader,
        page: Vec<ScannedMessage>,
    ) -> Result<(), ReconcileError> {
        self.messages += page.len() as u64;
        let mut places: HashMap<(TenantId, Position), Vec<RecordedEvent>> = HashMap::new();
        for message in page {
            match message.event {
                Ok(event) => places
                    .entry((event.tenant, event.position))
                    .or_default()
                    .push(event),
                Err(_) => self.strange += 1,
            }
        }
        // By the bytes: whoever altered them may have left the hash beside them as it was.
        let ledger = log
            .content_hashes_at(&places.keys().copied().collect::<Vec<_>>())
            .await?;
        let mut judge = None;
        for ((tenant, position), events) in places {
            for event in events {
                let (hash, kept) = (event.hash, ledger.get(&(tenant, position)));
                // What the ledger has too, needs no other witness.
                if kept != Some(&hash) {
                    let judge = match &mut judge {
                        Some(judge) => judge,
                        none => none.insert(Judge::new(log).await?),
                    };
                    if !judge.is_genuine(backbone, &Ok(event)).await? {
                        self.strange += 1;
                        continue;
                    }
                }
                self.tenants.entry(tenant).or_default().take(position, hash, kept);
            }
        }
        Ok(())
    }
}

impl Held {
    fn take(&mut self, position: Position, hash: EventHash, ledger: Option<&EventHash>) {
        if !self.positions.add(position) {
            self.repeated += 1;
        }
        match ledger {
            None => drop(self.not_in_ledger.add(position)),
            Some(ledger) if *ledger != hash => {
                self.different += 1;
                let first = self.first_different.map_or(position, |first| first.min(position));
                self.first_different = Some(first);
            }
            Some(_) => {}
        }
    }
}

async fn report(
    log: &LogReader,
    tenant: TenantId,
    head: Option<&ChainHead>,
    held: Held,
    discarded: Option<Timestamp>,
) -> Result<TenantReport, sqlx::Error> {
    let ledger_head = head.map(|head| head.head.position);
    let end = ledger_head.unwrap_or_default();
    let floor = match discarded {
        Some(before) if head.is_some() => log.position_as_of(tenant, before).await?,
        _ => Position::ZERO,
    };
    let (discarded_events, missing_in_stream) = without_discarded(held.positions.gaps(end), floor);
    let part = |first: Position, _| {
        if first > end {
            LossPart::Tail
        } else {
            LossPart::Middle
        }
    };
    Ok(TenantReport {
        tenant,
        ledger_head,
        stream_first: held.positions.first(),
        stream_last: held.positions.last(),
        quarantine: head.and_then(|head| head.quarantine_reason.clone()),
        discarded_events,
        missing_in_stream,
        missing_in_ledger: held.not_in_ledger.ranges(part),
        different_events: held.different,
        first_different: held.first_different,
        repeated_messages: held.repeated,
    })
}

/// Splits off what the stream lacks because it discarded it: the beginning of a log, up to `floor`.
fn without_discarded(gaps: Vec<Gap>, floor: Position) -> (u64, Vec<Gap>) {
    let mut discarded = 0;
    let mut lost = Vec::with_capacity(gaps.len());
    for gap in gaps {
        if gap.part == LossPart::Middle || gap.first > floor {
            lost.push(gap);
            continue;
        }
        let last = gap.last.min(floor);
        discarded += Gap { last, ..gap }.events();
        if gap.last > floor {
            let first = floor.next();
            lost.push(Gap { first, ..gap });
        }
    }
    (discarded, lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_discarded_is_no_loss() {
        let gap = |part, first, last| Gap {
            part,
            first: Position(first),
            last: Position(last),
        };
        let gaps = vec![gap(LossPart::Prefix, 1, 10), gap(LossPart::Middle, 12, 13)];
        assert_eq!(
            without_discarded(gaps.clone(), Position(7)),
            (7, vec![gap(LossPart::Prefix, 8, 10), gaps[1]])
        );
        assert_eq!(without_discarded(gaps.clone(), Position(20)), (10, vec![gaps[1]]));
        assert_eq!(without_discarded(gaps.clone(), Position::ZERO), (0, gaps));
        let quiet = vec![gap(LossPart::Tail, 1, 5)];
        assert_eq!(without_discarded(quiet, Position(5)), (5, vec![]));
    }
}
