//! The ledger: the log in Postgres. Only its commit acknowledges a command.
//!
//! One writer, the [`Sequencer`]: requests queue per tenant (a *lane*), a lane drains what waits, places it on its
//! head (`place`: positions, chain, signatures), and writes it with one call of a function that checks first
//! (`write`). That call's COMMIT is the commit point. When a connection dies around it, `unknown` finds out
//! whether it happened before the tenant takes anything else.
//!
//! Readers ([`LogReader`]) page through the log; whoever follows it subscribes to [`Committed`] notices and polls.

mod call;
mod database;
mod draft;
mod janitor;
mod lane;
mod place;
mod places;
mod read;
mod request;
mod sequencer;
mod signing;
mod unknown;
mod waiting;
mod write;

pub(crate) use call::close;
pub use call::{CALL_TIMEOUT, all, execute, give_back, one, within};
pub use database::{Database, DatabaseError, DatabaseOptions, PoolSizes, RoleLogin, TenantTransaction};
pub use janitor::{delete_expired_keys, forget_expired_keys};
pub use place::Head;
pub use read::{ChainHead, LogReader, StoredEvent};
pub use request::{
    AggregateAppend, AppendError, AppendRequest, Appended, Committed, IdempotencyClaim, KeyLookup, NewEvent,
    NewHead,
};
pub use sequencer::{Sequencer, SequencerOptions};
pub use signing::{CurrentKey, KeySource};
