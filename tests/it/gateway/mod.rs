//! Completions through the real program: an unmodified OpenAI client, and providers of every temper.

mod openai;
mod providers;
mod recorder;
mod streams;
