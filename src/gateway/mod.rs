//! The gateway: governed completions on OpenAI's wire (GATEWAY.md).
//!
//! A call's way: `handler` reads it, `pipeline` runs the registered steps, `CompletionAuthorized` becomes
//! durable, `upstream` answers, usage is priced and settled, and only then is the answer complete.

pub mod prices;
pub mod tokens;
pub mod upstream;
pub mod wire;
