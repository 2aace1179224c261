//! What a read model states of itself.

use counterfoil_events::schema::DecodeError;

use crate::engine::event::FoldEvent;
use crate::engine::rows::{RowKey, Rows};

/// One table of a projection. Its primary key is `(tenant_id, key)`, its rows are JSON objects to the engine.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name, without schema.
    pub name: &'static str,
    /// Reads rows by key as JSON text: `$1 uuid[]`, `$2 text[]`; answers `(tenant_id, key, row)`.
    pub load: &'static str,
    /// Writes rows: `$rows json`, an array of whole rows; replaces those with the same key. A part of a statement.
    pub store: &'static str,
    /// Deletes rows: `$tenants uuid[]`, `$keys text[]`. A part of a statement.
    pub delete: &'static str,
    /// Takes its statistics.
    pub analyze: &'static str,
}

/// What a read model is, as data.
#[derive(Debug, Clone, Copy)]
pub struct Declaration {
    /// As in schema and view names: lower case, `[a-z_]`.
    pub name: &'static str,
    /// Raised whenever fold or tables change; a live version of another revision is rebuilt at start.
    pub revision: i32,
    /// The event types that it folds; all others only move its cursor.
    pub event_types: &'static [&'static str],
    /// Whether one row may depend on several logs. Then the logs are folded by one worker, not in parallel.
    pub spans_logs: bool,
    /// `CREATE TABLE` and index statements, unqualified.
    pub create_tables: &'static str,
    /// `CREATE OR REPLACE VIEW read.…` statements over the unqualified tables, `security_invoker`, columns listed.
    pub create_views: &'static str,
    /// Its tables; a [`RowKey`] names one by its index here.
    pub tables: &'static [Table],
}

/// A read model: a declaration and a pure fold.
pub trait Projection: Send + Sync + 'static {
    /// What it is.
    fn declaration(&self) -> &'static Declaration;

    /// Its name.
    fn name(&self) -> &'static str {
        self.declaration().name
    }

    /// Rows that the event will ask for, as far as it shows; they are read in bulk. Asking for others is no error.
    fn touches(&self, event: &FoldEvent<'_>) -> Vec<RowKey>;

    /// Changes rows by one event. Pure: it may be called again for the same event with more rows at hand, and what
    /// it wrote before an error is discarded.
    ///
    /// # Errors
    /// [`FoldError::Missing`] for a row that is not at hand; anything else parks the event's aggregate.
    fn fold(&self, rows: &mut Rows, event: &FoldEvent<'_>) -> Result<(), FoldError>;
}

/// An event that could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// A row that has not been read yet: the engine reads it and folds again.
    #[error("row {0:?} is not at hand")]
    Missing(RowKey),
    /// The payload could not be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A row does not have the shape that the fold expects.
    #[error("row {key:?}: {source}")]
    Row {
        /// Which.
        key: RowKey,
        /// Where it departs.
        source: serde_json::Error,
    },
    /// The event contradicts what was folded before.
    #[error("{0}")]
    Contradiction(String),
}
