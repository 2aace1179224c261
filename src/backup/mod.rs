//! `counterfoil backup` and `counterfoil restore`: the log and what continues it, in one directory.
//!
//! What is kept is what cannot be derived: the log's tables ([`TABLES`]), the signing key and the pepper of API keys.
//! Streams are refilled from Postgres, read models are folded anew, Redis holds nothing that matters. A backup is
//! taken in one snapshot while the system runs; its [`Manifest`] says what is inside, where every log ends in it, and
//! the BLAKE3 digest of every file. It appears under its name only when it is whole. Events are verified as they pass:
//! a damaged log is backed up as it is, and what is wrong with it is said.
//!
//! A restore checks the digests, makes the schema that the backup was taken from, loads it in one transaction, brings
//! the schema up to date, and verifies chain and signatures before it says that it succeeded. It never writes over a
//! log that is there.

mod check;
mod copied;
mod error;
mod file;
mod manifest;
mod restore;
mod secrets;
mod tables;
mod take;
mod whole;

pub use error::BackupError;
pub use manifest::{BackedUpLog, FileEntry, Manifest};
pub use restore::{Restore, Restored};
pub use secrets::Secrets;
pub use tables::{Derived, TABLES, Table};
pub use take::{BackedUp, Backup};
pub use whole::WholeBackup;
