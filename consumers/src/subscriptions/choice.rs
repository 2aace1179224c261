//! Which events a subscriber wants.

use super::item::Item;

/// Which events: every part that is given must fit. Without any, all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Of one of these types; empty: of any.
    pub types: Vec<String>,
    /// Of aggregates of this kind.
    pub aggregate: Option<String>,
    /// Of this one of them.
    pub aggregate_id: Option<String>,
}

impl Choice {
    /// Whether an event is wanted.
    #[must_use]
    pub fn takes(&self, item: &Item) -> bool {
        let fits =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        (self.types.is_empty() || self.types.iter().any(|wanted| wanted == item.event_type()))
            && fits(&self.aggregate, item.aggregate())
            && fits(&self.aggregate_id, item.aggregate_id())
    }

    /// Whether every event is wanted.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// The types as SQL takes them: none for any.
    pub(super) fn types_wanted(&self) -> Option<&[String]> {
        (!self.types.is_empty()).then_some(&*self.types)
    }
}
