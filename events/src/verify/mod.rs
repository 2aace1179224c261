//! The verifier: says of a log, from its bytes alone, whether anything in it was altered, lost or added.
//!
//! Pure: it is fed entries and says what it finds. It trusts nothing but the fingerprint of the first signing
//! key. [`LogVerifier`] holds the rules of one tenant's log; `docs/log-format.md` states the same rules for
//! outsiders, and the Python verifier under `tests/verifier` keeps them too.

mod anchors;
mod check;
mod documents;
mod entry;
mod export;
mod finding;
mod log;
mod references;

pub use anchors::{Anchor, AnchorSource};
pub use documents::{Documents, SeenDocuments, Unchecked};
pub use entry::{Columns, Entry, StoredEvent};
pub use export::{FileOptions, note_error_kind, verify_export};
pub use finding::{Finding, FindingKind, Findings, Loss, LossPart, MAX_FINDINGS_KEPT};
pub use log::{CheckedBatch, LogEnd, LogVerifier, Options, Report};
pub use references::documents_of;

#[cfg(test)]
pub(crate) mod tests;
