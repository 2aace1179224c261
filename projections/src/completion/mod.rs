//! Completions (key: the completion's id), and their usage by agent, model and day (key: `day|agent|model`).
//!
//! A completion counts on the day it was asked for, whenever it ends: its own row says which usage row it stands in,
//! so that its end, its loss and a later correction find it.

mod row;

use counterfoil_events::completion::Completion;

use crate::engine::{Declaration, FoldError, FoldEvent, Projection, RowKey, Rows};
use crate::table::table;
pub use row::{CompletionRow, CompletionStatus, Costs, UsageRow};

/// The read model of completions.
pub struct Completions;

const COMPLETIONS: usize = 0;
const USAGE: usize = 1;
const DECLARATION: Declaration = Declaration {
    name: "completion",
    revision: 2,
    event_types: &[
        "CompletionAuthorized",
        "CompletionDenied",
        "CompletionSettled",
        "CompletionFailed",
        "CompletionLost",
        "CompletionCorrected",
    ],
    spans_logs: false,
    create_tables: include_str!("tables.sql"),
    create_views: include_str!("views.sql"),
    tables: &[
        table!(
            "completions": "agent", "api_key", "model", "provider", "stream", "day", "asked_at", "ended_at", "status",
            "corrected", "input_tokens", "output_tokens", "estimated", "cost", "step", "code", "reasons", "position",
            "settle_by"
        ),
        table!(
            "usage": "agent", "model", "day", "completions", "settled", "denied", "failed", "lost", "input_tokens",
            "output_tokens", "cost"
        ),
    ],
};

impl Projection for Completions {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn touches(&self, event: &FoldEvent<'_>) -> Vec<RowKey> {
        match event.event_type {
            // Each is the first event of its completion: there is no row yet.
            "CompletionAuthorized" | "CompletionDenied" => Vec::new(),
            _ => vec![event.own_row(COMPLETIONS)],
        }
    }

    fn fold(&self, rows: &mut Rows, event: &FoldEvent<'_>) -> Result<(), FoldError> {
        let key = event.own_row(COMPLETIONS);
        let change = event.decode::<Completion>()?;
        let (before, after) = match CompletionRow::first(event, &change) {
            Some(first) => (None, first),
            None => {
                let before: CompletionRow = rows.existing(&key)?;
                let after = before.clone().after(event, &change);
                (Some(before), after)
            }
        };
        count(rows, event, before.as_ref(), &after)?;
        rows.put(key, after);
        Ok(())
    }
}

/// Takes what the completion counted for before out of its usage row, and puts in what it counts for now.
fn count(
    rows: &mut Rows,
    event: &FoldEvent<'_>,
    before: Option<&CompletionRow>,
    after: &CompletionRow,
) -> Result<(), FoldError> {
    let key = RowKey::new(USAGE, event.tenant, after.usage_key());
    let mut usage = rows.get(&key)?.unwrap_or_else(|| UsageRow::empty(after));
    if let Some(before) = before {
        usage.count(before, -1)?;
    }
    usage.count(after, 1)?;
    rows.put(key, usage);
    Ok(())
}
