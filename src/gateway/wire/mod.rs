//! OpenAI's wire, spoken exactly: what callers send, what they get, and how both stream.
//!
//! Nothing here does I/O. A request is *read* into a small typed view for the pipeline, and *forwarded* as
//! the bytes that the caller sent, with the fewest edits ([`splice`]): unknown fields, key order and number
//! text survive. Answers pass through the same way.

pub mod check;
pub mod chunk;
pub mod error;
pub mod messages;
pub mod models;
pub mod node;
pub mod relay;
pub mod request;
pub mod response;
pub mod splice;
pub mod sse;
pub mod tools;

pub use error::{ApiError, Retry};
pub use request::ChatRequest;
