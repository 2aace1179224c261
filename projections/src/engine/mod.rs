//! The engine under every read model.
//!
//! Version N of a projection has its tables in a schema of its own, `read_<name>_v<N>`; all of a projection's SQL is
//! unqualified and runs with that schema as `search_path`, so the same text serves the live version, the one being
//! built beside it, and the temporary one that a diff makes. Stable views in schema `read` show the live version.
//!
//! The fold is a function of the *set* of each log's events in order, never of how the logs interleave.

mod cursor;
mod diff;
mod error;
mod event;
mod feed;
mod fold;
mod folder;
mod parked;
mod projection;
mod rebuild;
mod rows;
mod version;
mod wait;
mod write;

pub use cursor::{Cursors, cursors};
pub use diff::{Difference, diff};
pub use error::{Damage, EngineError};
pub use event::FoldEvent;
pub use feed::{STEP, Stretch, page};
pub use fold::{Batch, LoggedEvent};
pub use folder::Folder;
pub use parked::{ParkedEvent, list_parked, retry_parked};
pub use projection::{Declaration, FoldError, Projection, Table};
pub use rebuild::{RebuildOptions, RebuildProgress, cancel, rebuild};
pub use rows::{RowKey, RowValue, Rows};
pub use version::{Version, VersionState, drop_retired, ensure_live, fed_versions, live_version, versions};
pub use wait::{MAX_WAITING, WaitError, WaitFor, WaitOutcome, WaitingRoom};
