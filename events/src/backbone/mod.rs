//! The backbone: the log on JetStream, for order, fan-out and competing consumers. It is a copy of the ledger, never
//! evidence: JetStream acknowledges before it syncs, so whatever it loses is filled in from Postgres, exactly.
//!
//! - [`Backbone`] is the connection; [`StreamPrefix`] and [`StreamSettings`] say what the streams are called and how
//!   they are kept; `message` is how an event looks on the wire.
//! - [`relay()`] publishes one partition in order, behind a fence. Where it goes on is *derived* from the stream each
//!   time (`cursor`) and compared with Postgres (`compare`): a copy that is ahead or different stops the tenant.
//! - [`HeadWatch`] is the one scan of `chain_heads` that everything in a process follows.
//! - [`BackboneStatus`] is what `/ready` reads.

mod backoff;
mod compare;
mod connection;
mod cursor;
mod discarded;
mod genuine;
mod heads;
mod leader;
mod message;
mod pipeline;
pub mod reconcile;
mod relay;
mod scan;
mod seen;
mod session;
mod status;
mod stream;
mod wake;

pub use compare::Finding;
pub use connection::{Backbone, BackboneError, BackboneOptions, Link};
pub use cursor::{StreamCursor, TenantCursor, derive};
pub use heads::{HeadWatch, Heads, HeadsReader, ServerTime};
pub use message::{MessageError, Stamp, decode};
pub use relay::{RelayOptions, RelayParts, relay};
pub use scan::{ScannedMessage, StreamScan};
pub use seen::SeenHeads;
pub use status::{BackboneStatus, HeadState, PartitionStatus};
pub use stream::{InvalidPrefix, StreamPrefix, StreamSettings, WrongSetting};
pub use wake::send_wake_ups;
