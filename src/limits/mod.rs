//! What is counted and kept: requests within a rate, and answers for a repeated Idempotency-Key. A completion counts
//! under its key, its agent, its tenant and its sender's address at once (`requests`); commands and refused credentials
//! are counted by each process for itself (`local`).
//!
//! Counters of completions and answers live in Redis, so that all processes share them, and fall back to this process's bounded memory when
//! Redis does not answer within some milliseconds: visibly (`/ready` says degraded, a metric counts), and back by
//! themselves. Nothing here decides who may do what: losing it never opens a door, it only counts more loosely.

pub mod answers;
pub mod gcra;
pub mod last_uses;
pub mod local;
mod memory;
mod redis_link;
pub mod requests;

pub use answers::{AnswerKey, KeptAnswers};
pub use gcra::{Rate, Verdict};
pub use last_uses::LastUses;
pub use local::LocalLimiter;
pub use redis_link::RedisLink;
pub use requests::RequestLimiter;
