//! Everything that follows the log and acts on it.
//!
//! Data flows one way: what a consumer wants changed it asks for with a command of its own, at the sequence it
//! expects. What it needs from above (fetching from a network, say) it names as a small trait.

pub mod kri;
pub mod news;
pub mod projector;
pub mod subscriptions;
pub mod sweeper;
