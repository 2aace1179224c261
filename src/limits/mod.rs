//! What is counted and kept per key: requests within a rate, and answers for a repeated Idempotency-Key.
//!
//! Both live in Redis, so that all processes share them, and fall back to this process's bounded memory when
//! Redis does not answer within some milliseconds: visibly (`/ready` says degraded, a metric counts), and back by
//! themselves. Nothing here decides who may do what: losing it never opens a door, it only counts more loosely.

pub mod answers;
pub mod gcra;
mod memory;
mod redis_link;
pub mod requests;

pub use answers::{AnswerKey, KeptAnswers};
pub use gcra::{Rate, Verdict};
pub use redis_link::RedisLink;
pub use requests::RequestLimiter;
