//! What clients were told, held to the log: nothing that was acknowledged is missing, nothing is there twice, and nothing
//! is there that nobody asked for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_events::envelope::Receipt;
use counterfoil_events::ids::TenantId;
use counterfoil_events::ledger::StoredEvent;
use serde_json::Value;

use super::request::{Asked, Kind, Outcome};
use crate::support::invariants::Checker;

/// What the clients were told of each request, each time that they asked.
#[derive(Default)]
pub struct Told(Vec<(Asked, Vec<Outcome>)>);

impl Told {
    pub(super) fn extend(&mut self, more: Vec<(Asked, Vec<Outcome>)>) {
        self.0.extend(more);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Every acknowledgement of a command.
    pub fn receipts(&self) -> Vec<Receipt> {
        let of = |outcome: &Outcome| match outcome {
            Outcome::Done(receipts) => receipts.clone(),
            _ => Vec::new(),
        };
        self.0.iter().flat_map(|(_, outcomes)| of(&outcomes[0])).collect()
    }

    /// Nothing is in the log that was not told, and nothing twice (I7); completions have one beginning and at most one
    /// ending, which is of the answer that was given. `before` is where each log stood when the clients began.
    pub async fn is_all_there_is(&self, checker: &Checker, before: &BTreeMap<TenantId, u64>) {
        for (tenant, before) in before {
            let mut events = checker.events(*tenant).await;
            events.retain(|event| event.recorded.position.0 > *before);
            for (kind, event_type) in [
                (Kind::Register, "AgentRegistered"),
                (Kind::Change, "AgentChanged"),
                (Kind::Run, "KriRunRequested"),
            ] {
                let told: Vec<u64> = self.positions(*tenant, kind);
                assert_eq!(positions(&events, event_type), told, "{tenant}: {event_type}");
            }
            self.completions_are_all_there_is(*tenant, &events);
            at_most_one_each(
                &events,
                "completion",
                &["CompletionSettled", "CompletionFailed", "CompletionLost"],
            );
            at_most_one_each(&events, "kri_run", &["KriRunCompleted", "KriRunFailed"]);
        }
    }

    fn positions(&self, tenant: TenantId, kind: Kind) -> Vec<u64> {
        let of = self
            .0
            .iter()
            .filter(|(asked, _)| asked.tenant.world.tenant == tenant && asked.kind == kind);
        let mut positions: Vec<u64> = of
            .filter_map(|(_, outcomes)| match &outcomes[0] {
                Outcome::Done(receipts) => Some(receipts[0].position.0),
                _ => None,
            })
            .collect();
        positions.sort_unstable();
        positions
    }

    fn completions_are_all_there_is(&self, tenant: TenantId, events: &[StoredEvent]) {
        let by_position: BTreeMap<u64, &StoredEvent> = events
            .iter()
            .map(|event| (event.recorded.position.0, event))
            .collect();
        let mut told = BTreeSet::new();
        for (asked, outcomes) in self
            .0
            .iter()
            .filter(|(asked, _)| asked.tenant.world.tenant == tenant && asked.completes())
        {
            let completions: BTreeSet<&str> = outcomes
                .iter()
                .map(|outcome| completion(asked, outcome, &by_position))
                .collect();
            assert_eq!(completions.len(), 1, "{asked:?} became several: {outcomes:?}");
            for completion in completions {
                assert!(
                    told.insert(completion.to_owned()),
                    "two requests became one completion"
                );
            }
        }
        let begun = events
            .iter()
            .filter(|event| event.event_type == "CompletionAuthorized");
        let begun: BTreeSet<String> = begun.map(|event| event.aggregate_id.clone()).collect();
        assert_eq!(
            begun, told,
            "{tenant}: completions that were authorised, and those that somebody asked for"
        );
    }
}

/// Which completion an answer is of; the answer of a settled one is the one that its event names.
fn completion<'a>(asked: &Asked, outcome: &Outcome, by_position: &BTreeMap<u64, &'a StoredEvent>) -> &'a str {
    let (position, digest) = match outcome {
        Outcome::Answered { position, digest } => (position, *digest),
        Outcome::Begun { position } => (position, None),
        other => panic!("{asked:?} was told {other:?}"),
    };
    let event = by_position[position];
    if let Some(digest) = digest {
        assert_eq!(event.event_type, "CompletionSettled", "{asked:?}");
        let envelope: Value = serde_json::from_str(&event.recorded.envelope).unwrap();
        assert_eq!(envelope["payload"]["response_digest"], digest.to_string());
    }
    &event.aggregate_id
}

fn positions(events: &[StoredEvent], event_type: &str) -> Vec<u64> {
    let of = events.iter().filter(|event| event.event_type == event_type);
    of.map(|event| event.recorded.position.0).collect()
}

fn at_most_one_each(events: &[StoredEvent], aggregate: &str, endings: &[&str]) {
    let mut ended = BTreeSet::new();
    for event in events.iter().filter(|event| event.aggregate == aggregate) {
        if endings.contains(&event.event_type.as_str()) {
            assert!(
                ended.insert(&event.aggregate_id),
                "{aggregate} {} ended twice",
                event.aggregate_id
            );
        }
    }
}
