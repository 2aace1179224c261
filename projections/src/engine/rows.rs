//! The rows at hand while events are folded.
//!
//! Rows come in as JSON text and are parsed when first asked for; they stay typed until they are stored. What an
//! event writes lies in an overlay that is taken over when its fold succeeds and discarded when it fails.

use std::any::Any;
use std::collections::{HashMap, HashSet};

use counterfoil_events::ids::TenantId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::projection::FoldError;

/// Names one row of a projection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    /// Index into [`crate::engine::Projection::tables`].
    pub table: usize,
    /// Whose row.
    pub tenant: TenantId,
    /// Which one.
    pub key: String,
}

impl RowKey {
    /// Names a row.
    #[must_use]
    pub fn new(table: usize, tenant: TenantId, key: impl Into<String>) -> Self {
        Self {
            table,
            tenant,
            key: key.into(),
        }
    }
}

/// What may stand in a row: a struct whose fields are the table's columns but for `tenant_id` and `key`.
pub trait RowValue: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> RowValue for T {}

/// A typed row, forgotten but for what storing it needs.
trait Erased: Send + Sync {
    fn json(&self) -> serde_json::Result<String>;
    fn as_any(&self) -> &dyn Any;
}

impl<T: RowValue> Erased for T {
    fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

enum Slot {
    Absent,
    Text(String),
    Typed(Box<dyn Erased>),
}

/// The rows at hand.
#[derive(Default)]
pub struct Rows {
    slots: HashMap<RowKey, Slot>,
    overlay: HashMap<RowKey, Slot>,
    changed: HashSet<RowKey>,
    /// True while every row of the tables is at hand: then one that is not does not exist.
    complete: bool,
}

impl Rows {
    /// For tables that are empty: no row needs to be read.
    #[must_use]
    pub fn of_empty_tables() -> Self {
        Self {
            complete: true,
            ..Self::default()
        }
    }

    /// The row, if it exists.
    ///
    /// # Errors
    /// [`FoldError::Missing`] when it is not at hand; [`FoldError::Row`] when it has another shape.
    pub fn get<T: RowValue>(&mut self, key: &RowKey) -> Result<Option<T>, FoldError> {
        if let Some(slot) = self.overlay.get_mut(key) {
            return read(slot, key);
        }
        match self.slots.get_mut(key) {
            Some(slot) => read(slot, key),
            None if self.complete => Ok(None),
            None => Err(FoldError::Missing(key.clone())),
        }
    }

    /// The row, which an earlier event must have made.
    ///
    /// # Errors
    /// As [`Rows::get`]; [`FoldError::Contradiction`] when it does not exist.
    pub fn existing<T: RowValue>(&mut self, key: &RowKey) -> Result<T, FoldError> {
        self.get(key)?.ok_or_else(|| {
            FoldError::Contradiction(format!(
                "{} does not exist: the event that made it is not folded",
                key.key
            ))
        })
    }

    /// Writes the row.
    pub fn put<T: RowValue>(&mut self, key: RowKey, row: T) {
        self.overlay.insert(key, Slot::Typed(Box::new(row)));
    }

    /// Deletes the row; one that does not exist stays so.
    pub fn delete(&mut self, key: RowKey) {
        self.overlay.insert(key, Slot::Absent);
    }

    pub(super) fn is_at_hand(&self, key: &RowKey) -> bool {
        self.complete || self.slots.contains_key(key)
    }

    pub(super) fn loaded(&mut self, key: RowKey, row: Option<String>) {
        self.slots.insert(key, row.map_or(Slot::Absent, Slot::Text));
    }

    /// Takes over what the last fold wrote.
    pub(crate) fn keep(&mut self) {
        for (key, slot) in self.overlay.drain() {
            self.changed.insert(key.clone());
            self.slots.insert(key, slot);
        }
    }

    /// Discards what the last fold wrote.
    pub(super) fn discard(&mut self) {
        self.overlay.clear();
    }

    /// What has changed since the last call: rows as whole JSON objects, or none where deleted.
    pub(crate) fn take_changes(&mut self) -> Result<Vec<(RowKey, Option<String>)>, FoldError> {
        let mut keys: Vec<RowKey> = self.changed.drain().collect();
        // In key order, so that two writers lock rows in the same order.
        keys.sort_unstable();
        keys.into_iter()
            .map(|key| {
                let json = match self.slots.get(&key) {
                    None | Some(Slot::Absent) => None,
                    Some(Slot::Text(text)) => Some(text.clone()),
                    Some(Slot::Typed(row)) => Some(row.json().map_err(|source| FoldError::Row {
                        key: key.clone(),
                        source,
                    })?),
                };
                Ok((key, json))
            })
            .collect()
    }

    /// Forgets all rows when more than `limit` are at hand (nothing may be pending).
    pub(super) fn shrink(&mut self, limit: usize) {
        if self.slots.len() > limit {
            self.slots.clear();
            self.complete = false;
        }
    }
}

fn read<T: RowValue>(slot: &mut Slot, key: &RowKey) -> Result<Option<T>, FoldError> {
    if let Slot::Text(text) = slot {
        let row: T = serde_json::from_str(text).map_err(|source| FoldError::Row {
            key: key.clone(),
            source,
        })?;
        *slot = Slot::Typed(Box::new(row));
    }
    match slot {
        Slot::Typed(row) => match (**row).as_any().downcast_ref::<T>() {
            Some(row) => Ok(Some(row.clone())),
            None => Err(FoldError::Contradiction(format!(
                "row {key:?} is asked for as two types"
            ))),
        },
        _ => Ok(None),
    }
}
