//! The three aggregates of the KRI context, in a tenant's log: what is measured (`kri`), where its values come from
//! (`kri_source`), and each measuring (`kri_run`).

mod id;
pub mod indicator;
mod positions;
pub mod run;
pub mod source;

pub use id::{KriId, NotAKriId};
pub use positions::{MAX_POSITIONS, PositionVector, TooManyLogs};
