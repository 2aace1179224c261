//! Black-box tests against the real servers and the real binary, in one test binary: it links once, and all tests share
//! one stack of servers (`support/stack.rs`), each with a database and a stream prefix of its own.

mod administration;
mod audit;
mod backbone;
mod backup;
mod cli;
mod conformance;
mod database_schema;
mod demo;
mod event_schemas;
mod faults;
mod gateway;
mod head_notes;
mod http;
mod identity;
mod isolation;
mod issuer;
mod janitor;
mod keys;
mod kri;
mod ledger;
mod limits;
mod nouns;
mod origin;
mod projections;
mod roles;
mod security;
mod sessions;
mod stack;
mod subscribers;
mod subscriptions;
mod support;
mod sweeper;
mod tenant_end;
mod up;
mod vault;
