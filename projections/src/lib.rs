//! Read models of the log, and the engine that keeps and rebuilds them.
//!
//! A projection ([`engine::Projection`]) is a name, a filter, a pure fold over rows, and the SQL of its tables. The
//! engine does the rest, the same for all: cursors as the fence, parking of what cannot be folded, rebuilds beside
//! the live version, the swap, and the comparison of a live version with a fresh one.
//!
//! One folder per read model, named as its context is on every floor.

pub mod agent;
pub mod completion;
pub mod engine;
pub mod kri;
pub mod organisation;
pub mod policy;
pub mod rollup;
mod table;
pub mod tenant;

use std::sync::Arc;

use engine::Projection;

/// Every read model, in the order in which they are fed and listed.
#[must_use]
pub fn all() -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(organisation::Organisations),
        Arc::new(tenant::Tenants),
        Arc::new(agent::Agents),
        Arc::new(policy::Policies),
        Arc::new(completion::Completions),
        Arc::new(kri::Kris),
        Arc::new(rollup::Rollups),
    ]
}
