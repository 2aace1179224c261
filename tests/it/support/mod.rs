//! What the tests share.

pub mod backbone;
pub mod binary;
pub mod browser;
pub mod events;
pub mod installation;
pub mod invariants;
pub mod issuer;
pub mod kms;
pub mod ledger;
pub mod person;
pub mod pooler;
pub mod projections;
pub mod provider;
pub mod proxy;
pub mod random;
pub mod reply;
pub mod restored;
pub mod served;
pub mod servers;
pub mod stack;
pub mod up;
pub mod world;
