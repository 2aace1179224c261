//! What keeps one tenant from another, by its behaviour: connections that are used again, and queries that are wrong.
//! What the catalog has to say for it is in `database_schema/isolation.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod matrix;
mod partitions;
mod pool;
mod users;
