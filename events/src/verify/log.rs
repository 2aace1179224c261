//! The verifier of one tenant's log: what an event must be to its neighbours.
//!
//! Entries come in the order in which their holder keeps them. Each batch is first checked entry by entry, in
//! parallel ([`LogVerifier::check`]), then taken in order ([`LogVerifier::accept`]):
//! 1. *place* it: not before the next position (`duplicate`), not beyond it (`gap`),
//! 2. *link* it: `prev` is the hash of the event before (unknown after a loss),
//! 3. its time does not decrease, its key is not one that another had followed, and its aggregate's sequence goes on,
//! 4. its documents are there,
//! 5. what heads and head notes say of its position is true.
//!
//! It goes on after a finding. Entries that are not believed take up a place but say nothing, so one altered
//! event is one finding. Memory: one batch, and about 50 bytes for each aggregate of the log.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ids::{DocumentDigest, EventHash, KeyId, Position, Sequence, TenantId};
use crate::keyring::TrustedKeys;
use crate::timestamp::Timestamp;
use crate::verify::anchors::{Anchor, Anchors};
use crate::verify::check::{Checked, Facts, Rules, aggregate_key};
use crate::verify::documents::Documents;
use crate::verify::entry::Entry;
use crate::verify::finding::{Finding, FindingKind, Findings, Loss, LossPart};

/// What to check, and with how many threads.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether to check signatures; without them only the chain is checked.
    pub signatures: bool,
    /// How many threads check entries.
    pub threads: NonZeroUsize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            signatures: true,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// A batch whose entries are checked one by one, but not yet against their neighbours.
#[derive(Debug)]
pub struct CheckedBatch(pub(super) Vec<Checked>);

impl CheckedBatch {
    /// The documents that its envelopes refer to, so that a store can be asked for them at once.
    #[must_use]
    pub fn documents(&self) -> Vec<DocumentDigest> {
        let facts = self.0.iter().filter_map(|checked| checked.facts.as_ref());
        facts
            .flat_map(|facts| facts.documents.iter().map(|document| document.digest))
            .collect()
    }
}

/// The last event of one aggregate.
#[derive(Clone, Copy, Default)]
struct Seen {
    sequence: Sequence,
    /// How many events of the log were lost until then.
    lost: u64,
}

/// Verifies one tenant's log; see the module.
pub struct LogVerifier {
    tenant: TenantId,
    keys: Arc<TrustedKeys>,
    options: Options,
    first: Position,
    next: Position,
    prev: Option<EventHash>,
    recorded_at: Option<Timestamp>,
    /// Where the key of the last event was introduced.
    key_introduced: Option<Position>,
    aggregates: HashMap<[u8; 16], Seen>,
    /// Events that are missing or not believed so far; a sequence may jump by no more.
    lost: u64,
    /// Entries without a place of their own since the last one that had one.
    unplaced: u64,
    entries: u64,
    anchors: Anchors,
    findings: Findings,
}

/// The end of a log that is believed up to there.
#[derive(Clone, Copy, Debug)]
pub struct LogEnd {
    /// Of the last event; zero when there is none.
    pub position: Position,
    /// Its hash.
    pub hash: EventHash,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Which key signed it.
    pub key: Option<KeyId>,
}

/// What a verifier has to say in the end.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// Whose log it was.
    pub tenant: TenantId,
    /// How many entries were read.
    pub events: u64,
    /// From which position.
    pub first: Position,
    /// Up to which position.
    pub last: Position,
    /// The hash there, unless the last entry was not believed.
    pub hash: Option<EventHash>,
    /// When the last believed event was recorded.
    pub recorded_at: Option<Timestamp>,
    /// What is wrong.
    pub findings: Findings,
}

impl Report {
    /// A report on nothing yet.
    #[must_use]
    pub fn empty(tenant: TenantId) -> Self {
        Self {
            tenant,
            events: 0,
            first: Position(1),
            last: Position::ZERO,
            hash: None,
            recorded_at: None,
            findings: Findings::default(),
        }
    }

    /// Adds something that was found beside the log's entries.
    pub fn find(&mut self, position: Position, kind: FindingKind, detail: impl Into<String>) {
        self.findings.add(Finding {
            tenant: self.tenant,
            position,
            kind,
            detail: detail.into(),
            loss: None,
        });
    }
}

impl LogVerifier {
    /// Verifies a log from its start.
    #[must_use]
    pub fn new(tenant: TenantId, keys: Arc<TrustedKeys>, options: Options) -> Self {
        Self::starting_at(tenant, keys, options, Position(1), Some(EventHash::ZERO))
    }

    /// Verifies a log from `first` on. `prev` is the hash of the event before, where it is known. What
    /// sequence each aggregate had reached there is unknown, so the first of each is taken as it comes.
    #[must_use]
    pub fn starting_at(
        tenant: TenantId,
        keys: Arc<TrustedKeys>,
        options: Options,
        first: Position,
        prev: Option<EventHash>,
    ) -> Self {
        Self {
            tenant,
            keys,
            options,
            first,
            next: first,
            prev,
            recorded_at: None,
            key_introduced: None,
            aggregates: HashMap::new(),
            lost: first.0.saturating_sub(1),
            unplaced: 0,
            entries: 0,
            anchors: Anchors::default(),
            findings: Findings::default(),
        }
    }

    /// Verifies what follows the end of a log that is believed up to there. Sequences are known, too: see
    /// [`Self::know_sequence`].
    #[must_use]
    pub fn following(tenant: TenantId, keys: Arc<TrustedKeys>, options: Options, end: &LogEnd) -> Self {
        let key_introduced = end.key.and_then(|key| keys.introduced_at(key));
        let first = end.position.next();
        Self {
            recorded_at: (end.position > Position::ZERO).then_some(end.recorded_at),
            key_introduced: key_introduced.filter(|_| options.signatures),
            lost: 0,
            ..Self::starting_at(tenant, keys, options, first, Some(end.hash))
        }
    }

    /// The sequence that an aggregate has where the log begins to be read; of one that is known already, nothing.
    pub fn know_sequence(&mut self, aggregate: &str, aggregate_id: &str, sequence: Sequence) {
        let key = aggregate_key(&format!("{aggregate}/{aggregate_id}"));
        self.aggregates.entry(key).or_insert(Seen { sequence, lost: 0 });
    }

    /// What was found until now.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Holds the log to what a head or a head note says. It is remembered for a position that is still to
    /// come, compared at once with the event that came last, and too late for any before.
    pub fn expect(&mut self, anchor: Anchor) {
        let problem = if anchor.position >= self.next {
            self.anchors.add(anchor)
        } else {
            self.anchors.reach(&anchor);
            let last = self
                .prev
                .filter(|_| anchor.position.next() == self.next && self.entries > 0);
            last.and_then(|hash| anchor.contradiction(&hash))
        };
        if let Some((kind, detail)) = problem {
            self.find(anchor.position, kind, detail);
        }
    }

    /// The position that has to follow.
    pub(super) fn next(&self) -> Position {
        self.next
    }

    /// Adds something that was found outside the entries.
    pub fn find(&mut self, position: Position, kind: FindingKind, detail: String) {
        self.findings.add(Finding {
            tenant: self.tenant,
            position,
            kind,
            detail,
            loss: None,
        });
    }

    /// Checks entries one by one, on as many threads as the options say.
    #[must_use]
    pub fn check(&self, entries: &[Entry]) -> CheckedBatch {
        let rules = Rules {
            tenant: self.tenant,
            keys: &self.keys,
            signatures: self.options.signatures,
        };
        CheckedBatch(share(entries, self.options.threads, |entry| rules.check(entry)))
    }

    /// Takes a checked batch in order.
    pub fn accept(&mut self, batch: CheckedBatch, documents: &dyn Documents) {
        for checked in batch.0 {
            self.entries += 1;
            self.take(checked, documents);
        }
    }

    /// Checks entries and takes them.
    pub fn verify_batch(&mut self, entries: &[Entry], documents: &dyn Documents) {
        let batch = self.check(entries);
        self.accept(batch, documents);
    }

    fn take(&mut self, checked: Checked, documents: &dyn Documents) {
        let Checked {
            position,
            problems,
            facts,
        } = checked;
        let at = position.unwrap_or(self.next);
        let placed = position.map(|position| self.place(position));
        for (kind, detail) in problems {
            self.find(at, kind, detail);
        }
        match (placed, facts) {
            (None, _) => self.unplaced += 1,
            (Some(false), _) => {}
            (Some(true), Some(facts)) => self.follow(at, &facts, documents),
            (Some(true), None) => {
                self.lost += 1;
                self.prev = None;
                self.anchors.pass(at);
            }
        }
    }

    /// Gives an entry its place; whether it is the next one.
    fn place(&mut self, position: Position) -> bool {
        if position < self.next {
            let detail = format!("it comes after position {}", self.next.0 - 1);
            self.find(position, FindingKind::Duplicate, detail);
            return false;
        }
        let missing = position.0 - self.next.0;
        if missing > 0 {
            self.lose(missing, FindingKind::Gap);
            self.lost = self.lost.saturating_add(missing);
            self.prev = None;
        }
        self.unplaced = 0;
        self.next = position.next();
        true
    }

    /// Reports that `missing` positions from the next one on are not there, less what stood in their place.
    fn lose(&mut self, missing: u64, kind: FindingKind) {
        let events = missing - missing.min(self.unplaced);
        if events == 0 {
            return;
        }
        let part = match kind {
            FindingKind::MissingTail => LossPart::Tail,
            _ if self.next == self.first => LossPart::Prefix,
            _ => LossPart::Middle,
        };
        let last = Position(self.next.0 + (missing - 1));
        self.findings.add(Finding {
            tenant: self.tenant,
            position: self.next,
            kind,
            detail: format!("{events} of the events {} to {last} are missing", self.next),
            loss: Some(Loss { part, events }),
        });
    }

    /// Holds a believed event against what came before it.
    fn follow(&mut self, at: Position, facts: &Facts, documents: &dyn Documents) {
        if let Some(prev) = self.prev.filter(|prev| *prev != facts.prev) {
            let detail = format!("prev is {}, the event before hashes to {prev}", facts.prev);
            self.find(at, FindingKind::ChainBroken, detail);
        }
        self.prev = Some(facts.hash);
        if let Some(before) = self.recorded_at.filter(|before| *before > facts.recorded_at) {
            let detail = format!("recorded at {}, after an event of {before}", facts.recorded_at);
            self.find(at, FindingKind::TimeDecreases, detail);
        }
        self.recorded_at = self.recorded_at.max(Some(facts.recorded_at));
        self.succeed_key(at, facts);
        self.continue_aggregate(at, facts);
        for reference in &facts.documents {
            if let Some((kind, detail)) = documents.problem(reference) {
                self.find(at, kind, detail);
            }
        }
        if let Some((kind, detail)) = self.anchors.contradiction(at, &facts.hash) {
            self.find(at, kind, detail);
        }
    }

    /// In a tenant's log no key signs after one that followed it. (In the platform's own, each event has its one key,
    /// which was asked before.)
    fn succeed_key(&mut self, at: Position, facts: &Facts) {
        let Some(introduced) = facts.key_introduced.filter(|_| !self.tenant.is_platform()) else {
            return;
        };
        if let Some(before) = self.key_introduced.filter(|before| *before > introduced) {
            let detail = format!(
                "signed by the key introduced at position {introduced} of the platform log, after an event of the one \
                 introduced at {before}"
            );
            self.find(at, FindingKind::KeySuperseded, detail);
        }
        self.key_introduced = Some(introduced);
    }

    fn continue_aggregate(&mut self, at: Position, facts: &Facts) {
        let seen = self.aggregates.entry(facts.aggregate_key).or_default();
        let (expected, tolerated) = (seen.sequence.next(), self.lost - seen.lost);
        *seen = Seen {
            sequence: facts.sequence,
            lost: self.lost,
        };
        let jump = facts.sequence.0.checked_sub(expected.0);
        if jump.is_none_or(|jump| jump > tolerated) {
            let detail = format!(
                "{}: sequence {} where {expected} follows",
                facts.aggregate, facts.sequence
            );
            self.find(at, FindingKind::SequenceGap, detail);
        }
    }

    /// The end of the log: reports a lost tail and everything else that was found.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let last = Position(self.next.0.saturating_sub(1));
        let missing = self.anchors.furthest().0.saturating_sub(last.0);
        if missing > 0 {
            self.lose(missing, FindingKind::MissingTail);
        }
        if let Some((position, detail)) = self.anchors.overrun(last) {
            self.find(position, FindingKind::Ahead, detail);
        }
        Report {
            tenant: self.tenant,
            events: self.entries,
            first: self.first,
            last,
            hash: self.prev.filter(|_| self.entries > 0),
            recorded_at: self.recorded_at,
            findings: self.findings,
        }
    }
}

/// Does `work` for each item, a chunk at a time, on as many threads: whoever is done takes the next chunk, so that a
/// thread which others keep from running holds nobody up. In the items' order.
fn share<T: Sync, R: Send>(items: &[T], threads: NonZeroUsize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let chunks: Vec<&[T]> = items.chunks(CHUNK_ENTRIES).collect();
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = chunks.get(place) else {
                return done;
            };
            done.push((place, chunk.iter().map(&work).collect::<Vec<R>>()));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.get().min(chunks.len()))
            .map(|_| scope.spawn(some))
            .collect();
        let mut done = some();
        for other in others {
            match other.join() {
                Ok(part) => done.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().flat_map(|(_, part)| part).collect()
}

/// With fewer a thread costs more than it saves: starting one takes as long as checking three signatures.
const CHUNK_ENTRIES: usize = 64;
