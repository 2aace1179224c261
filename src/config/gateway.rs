//! `[gateway]`: upstream providers, the models they serve, and the price table.

use std::collections::BTreeSet;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use super::check::Checks;

/// Models, their providers and prices.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Whether the built-in provider `demo` is offered. It answers deterministically, and says so.
    pub demo_provider: bool,
    /// The dated price table. A model without a price is denied.
    pub prices_file: Option<PathBuf>,
    /// Providers that speak OpenAI's wire.
    pub upstreams: Vec<UpstreamConfig>,
    /// What callers may name, and who serves it.
    pub models: Vec<ModelConfig>,
}

/// An OpenAI-compatible provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Its name in models, prices and events.
    pub name: String,
    /// Up to and without `/chat/completions`, such as `https://api.openai.com/v1`.
    pub base_url: String,
    /// Sent as bearer token, where the provider asks for one.
    pub api_key: Option<SecretString>,
    /// The file that holds it instead, readable by its owner alone (mode 0600).
    pub api_key_file: Option<PathBuf>,
    /// Longest wait for a connection.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Longest wait for a stream's first chunk. A whole answer is written before its head comes: the total time bounds it.
    #[serde(default = "first_chunk_timeout_ms")]
    pub first_chunk_timeout_ms: u64,
    /// Longest pause between two chunks of a stream.
    #[serde(default = "idle_timeout_ms")]
    pub idle_timeout_ms: u64,
    /// Longest time for a whole call, repeats included.
    #[serde(default = "total_timeout_ms")]
    pub total_timeout_ms: u64,
    /// How often a call is tried while nothing has been answered yet.
    #[serde(default = "attempts_max")]
    pub attempts_max: u32,
    /// Longest time for failed tries and the pauses between them.
    #[serde(default = "retry_budget_ms")]
    pub retry_budget_ms: u64,
    /// Largest answer that is taken.
    #[serde(default = "answer_bytes_max")]
    pub answer_bytes_max: usize,
    /// The field by which it is told the limit of an answer that a policy set and the caller did not.
    #[serde(default)]
    pub max_tokens_field: MaxTokensField,
}

/// The two names of the limit of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// Known to most compatible servers.
    #[default]
    MaxTokens,
    /// What OpenAI's newer models insist on.
    MaxCompletionTokens,
}

/// A name that callers use for a model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// What callers write.
    pub name: String,
    /// Who serves it: the name of an upstream, or `demo`.
    pub upstream: String,
    /// The provider's own name for it; the same if absent.
    pub upstream_model: Option<String>,
    /// Most tokens that its prompt and answer have together: bounds what a call may cost.
    #[serde(default = "context_window_tokens")]
    pub context_window_tokens: u64,
    /// Most tokens that one of its answers has: bounds what a call may cost.
    #[serde(default = "max_output_tokens")]
    pub max_output_tokens: u64,
}

fn connect_timeout_ms() -> u64 {
    3_000
}

/// Models that think before they write take minutes to the first word.
fn first_chunk_timeout_ms() -> u64 {
    120_000
}

fn idle_timeout_ms() -> u64 {
    60_000
}

fn total_timeout_ms() -> u64 {
    600_000
}

fn attempts_max() -> u32 {
    3
}

/// A caller who waits ten seconds for a provider that is away wants to hear of it.
fn retry_budget_ms() -> u64 {
    10_000
}

fn answer_bytes_max() -> usize {
    16 << 20
}

/// As common as any; a model with a larger window is configured with it.
fn context_window_tokens() -> u64 {
    131_072
}

fn max_output_tokens() -> u64 {
    16_384
}

impl GatewayConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        let mut upstreams = BTreeSet::new();
        for (index, upstream) in self.upstreams.iter().enumerate() {
            let key = format!("gateway.upstreams[{index}]");
            upstream.check(checks, &key);
            let first = upstream.name != "demo" && upstreams.insert(upstream.name.as_str());
            checks.require(
                &format!("{key}.name"),
                first,
                "is taken; each upstream needs a name of its own",
            );
        }
        if self.demo_provider {
            upstreams.insert("demo");
        }
        let mut models = BTreeSet::new();
        for (index, model) in self.models.iter().enumerate() {
            let key = format!("gateway.models[{index}]");
            let named = (1..=128).contains(&model.name.len()) && models.insert(model.name.as_str());
            checks.require(
                &format!("{key}.name"),
                named,
                "must be 1 to 128 characters, and only once",
            );
            checks.within(
                &format!("{key}.context_window_tokens"),
                model.context_window_tokens,
                1..=100_000_000,
            );
            checks.within(
                &format!("{key}.max_output_tokens"),
                model.max_output_tokens,
                1..=model.context_window_tokens,
            );
            let served = upstreams.contains(model.upstream.as_str());
            checks.require(&format!("{key}.upstream"), served, "names no configured upstream");
        }
    }
}

impl UpstreamConfig {
    fn check(&self, checks: &mut Checks, key: &str) {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let named = (1..=64).contains(&self.name.len()) && self.name.bytes().all(plain);
        checks.require(
            &format!("{key}.name"),
            named,
            "must be 1 to 64 lower-case letters, digits or `-`",
        );
        let web = self.base_url.starts_with("https://") || self.base_url.starts_with("http://");
        let sound = web && !self.base_url.contains(['@', '?', '#', ' ']);
        checks.require(
            &format!("{key}.base_url"),
            sound,
            "must be `https://…` or `http://…`, without a login or query",
        );
        checks.require(
            &format!("{key}.api_key_file"),
            self.api_key.is_none() || self.api_key_file.is_none(),
            "is set beside api_key; keep one of them",
        );
        for (name, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("first_chunk_timeout_ms", self.first_chunk_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
        ] {
            checks.within(&format!("{key}.{name}"), value, 1..=self.total_timeout_ms);
        }
        checks.within(
            &format!("{key}.total_timeout_ms"),
            self.total_timeout_ms,
            1..=3_600_000,
        );
        checks.within(&format!("{key}.attempts_max"), self.attempts_max, 1..=10);
        checks.within(
            &format!("{key}.retry_budget_ms"),
            self.retry_budget_ms,
            0..=3_600_000,
        );
        checks.within(
            &format!("{key}.answer_bytes_max"),
            self.answer_bytes_max,
            1024..=1 << 30,
        );
    }
}
