//! `counterfoil init`: everything that must exist before `serve` may run. Repeatable; `serve` itself never migrates.
//!
//! 1. the database and the cluster's roles, as an administrator (`deploy/sql/roles.sql`),
//! 2. the schema, as `counterfoil_owner` (`migrations/`),
//! 3. the platform's head and its first signing key (the log's first event, signed by the key that it introduces).
//!
//! Each step is safe to repeat and to run from two processes at once: one of each thing is made.

mod genesis;
mod migrate;
mod roles;

pub use genesis::{GenesisError, introduce_first_key};
pub use migrate::{MigrateError, applied_versions, migrate, revert};
pub use roles::{Logins, RolesError, prepare_cluster};
