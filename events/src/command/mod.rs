//! From a command to durable events: load, clone, decide, append.
//!
//! [`CommandHandler::execute`] is what production runs. cqrs-es's own framework and test harness run over the same
//! ledger through [`TenantStore`], in the conformance tests: it returns no receipts, so it is not used to serve.

mod cache;
mod handler;
mod load;
mod store;

pub use handler::{
    CommandContext, CommandError, CommandHandler, Decided, Executed, Extras, MAX_ATTEMPTS, Target,
};
pub use load::{LoadError, Loaded, StateShape, decode_stored, load};
pub use store::TenantStore;
