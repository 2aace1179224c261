//! The role `relay`: the log goes out to the streams, heads are noted, and old Idempotency-Keys are forgotten.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::backbone::{RelayOptions, RelayParts, relay};
use counterfoil_events::background::Background;
use counterfoil_events::ledger::forget_expired_keys;
use counterfoil_events::timestamp::SystemClock;

use super::basis::Basis;
use crate::audit::{HeadNotes, note_at_intervals};

/// How often tenants that moved get a head note: what was cut off later than this shows.
const HEAD_NOTE_INTERVAL: Duration = Duration::from_secs(60);

/// The loops of the role `relay`.
pub(super) fn start(basis: &Basis) -> Vec<Background> {
    let pool = || basis.database.log().clone();
    let notes = HeadNotes::new(pool(), basis.sequencer().key().clone(), Arc::new(SystemClock));
    let parts = || RelayParts {
        backbone: basis.backbone.clone(),
        database: basis.database.clone(),
        heads: basis.heads.reader(),
        notices: basis.sequencer().subscribe(),
        status: basis.status.clone(),
    };
    // One for each stream.
    let relays = (0..basis.partitions).map(|partition| relay(partition, parts(), RelayOptions::default()));
    let others = [
        note_at_intervals(notes, Some(basis.backbone.clone()), HEAD_NOTE_INTERVAL),
        forget_expired_keys(pool()),
    ];
    relays.chain(others).collect()
}
