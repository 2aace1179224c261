//! What a Counterfoil event is, and the log that keeps it.
//!
//! The crate has two floors. The *verifying core* (always built, no I/O) knows the bytes: envelope, hash
//! chain, signatures, documents, head notes. An auditor's tool or a subscriber can depend on it alone
//! (`default-features = false`). The *log* (feature `log`, on by default) holds the aggregates that decide
//! which events happen, the Postgres ledger that keeps them and the JetStream backbone that carries them.
//!
//! `docs/log-format.md` specifies the bytes for outsiders.

pub mod actor;
#[cfg(feature = "log")]
pub mod administration;
#[cfg(feature = "log")]
pub mod agent;
#[cfg(feature = "log")]
mod aggregate;
#[cfg(feature = "log")]
pub mod backbone;
#[cfg(feature = "log")]
pub mod background;
#[cfg(feature = "log")]
pub mod bounded;
#[cfg(feature = "log")]
pub mod command;
#[cfg(feature = "log")]
pub mod completion;
pub mod document;
pub mod envelope;
pub mod export;
#[cfg(feature = "log")]
pub mod fair_places;
pub mod head_note;
pub mod ids;
#[cfg(feature = "log")]
pub mod issuer;
pub mod keyring;
#[cfg(feature = "log")]
pub mod kri;
#[cfg(feature = "log")]
pub mod ledger;
#[cfg(feature = "log")]
pub mod membership;
#[cfg(feature = "log")]
pub mod money;
#[cfg(feature = "log")]
pub mod organisation;
#[cfg(feature = "log")]
pub mod origin;
#[cfg(feature = "log")]
pub mod policy;
#[cfg(feature = "log")]
pub mod registry;
#[cfg(feature = "log")]
pub mod rejection;
#[cfg(feature = "log")]
pub mod schema;
#[cfg(feature = "log")]
pub mod secret;
#[cfg(feature = "log")]
pub mod security;
pub mod signature;
#[cfg(feature = "log")]
pub mod subscriber;
#[cfg(feature = "log")]
pub mod tenant;
#[cfg(feature = "log")]
pub mod text;
pub mod timestamp;
#[cfg(feature = "log")]
pub mod user;
#[cfg(feature = "log")]
pub mod vault_key;
pub mod verify;
