//! The role `relay`: the log goes out to the streams, heads are noted, and old Idempotency-Keys are forgotten.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::backbone::{Heartbeat, Relay, RelayOptions, RelayParts};
use counterfoil_events::ledger::KeyJanitor;
use counterfoil_events::timestamp::SystemClock;

use super::basis::Basis;
use crate::audit::{HeadNoteLoop, HeadNotes};

/// How often tenants that moved get a head note: what was cut off later than this shows.
const HEAD_NOTE_INTERVAL: Duration = Duration::from_secs(60);

/// The parts of the role `relay`.
pub(super) struct RelayRole {
    relays: Vec<Relay>,
    head_notes: HeadNoteLoop,
    janitor: KeyJanitor,
}

impl RelayRole {
    pub(super) fn start(basis: &Basis) -> Self {
        let pool = || basis.database.log().clone();
        let key = basis.sequencer().key().clone();
        let notes = HeadNotes::new(pool(), key, Arc::new(SystemClock));
        Self {
            relays: relays(basis),
            head_notes: HeadNoteLoop::start(notes, Some(basis.backbone.clone()), HEAD_NOTE_INTERVAL),
            janitor: KeyJanitor::start(pool()),
        }
    }

    pub(super) fn heartbeats(&self) -> Vec<&Heartbeat> {
        let relays = self.relays.iter().map(Relay::heartbeat);
        relays
            .chain([self.head_notes.heartbeat(), self.janitor.heartbeat()])
            .collect()
    }

    pub(super) async fn stop(self) {
        self.janitor.stop().await;
        self.head_notes.stop().await;
        for relay in self.relays {
            relay.stop().await;
        }
    }
}

/// One for each stream.
fn relays(basis: &Basis) -> Vec<Relay> {
    let parts = || RelayParts {
        backbone: basis.backbone.clone(),
        database: basis.database.clone(),
        heads: basis.heads.reader(),
        notices: basis.sequencer().subscribe(),
        status: basis.status.clone(),
    };
    (0..basis.partitions)
        .map(|partition| Relay::start(partition, parts(), RelayOptions::default()))
        .collect()
}
