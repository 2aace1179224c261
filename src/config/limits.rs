//! `[limits]`: how many requests may come, and how long answers are kept for a repeated one.

use serde::Deserialize;

use super::check::Checks;
use crate::limits::Rate;

/// Requests per key, agent, tenant, address and principal. A rate of 0 a minute is none.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Sustained rate of one agent key; always there.
    pub requests_per_minute: u32,
    /// How many of them may come at once.
    pub burst_requests: u32,
    /// Sustained rate of one agent, by all of its keys.
    pub agent_requests_per_minute: u32,
    /// How many of them may come at once.
    pub agent_burst_requests: u32,
    /// Sustained rate of one tenant, by all of its agents.
    pub tenant_requests_per_minute: u32,
    /// How many of them may come at once.
    pub tenant_burst_requests: u32,
    /// Sustained rate of completions from one address. Behind a proxy see `http.trusted_proxies`.
    pub address_requests_per_minute: u32,
    /// How many of them may come at once.
    pub address_burst_requests: u32,
    /// Sustained rate of one principal's commands, counted by each process for itself.
    pub commands_per_minute: u32,
    /// How many of them may come at once.
    pub burst_commands: u32,
    /// Refused credentials from one address that are answered with 401; more are a 429. Counted by each process.
    pub refused_credentials_per_minute: u32,
    /// How many of them may come at once.
    pub burst_refused_credentials: u32,
    /// How long an answer is kept for a repeated Idempotency-Key.
    pub kept_answer_ttl_s: u64,
    /// Keys and answers that this process remembers while Redis is away.
    pub memory_entries_max: usize,
    /// Bytes of answers that this process remembers while Redis is away.
    pub memory_bytes_max: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            requests_per_minute: 600,
            burst_requests: 60,
            agent_requests_per_minute: 1200,
            agent_burst_requests: 120,
            tenant_requests_per_minute: 6000,
            tenant_burst_requests: 600,
            // Off: behind a proxy all of the world has one address.
            address_requests_per_minute: 0,
            address_burst_requests: 600,
            // A thousand a second: far above what people and services send, and below what would starve others.
            commands_per_minute: 60_000,
            burst_commands: 10_000,
            refused_credentials_per_minute: 60,
            burst_refused_credentials: 60,
            kept_answer_ttl_s: 24 * 3600,
            memory_entries_max: 50_000,
            memory_bytes_max: 32 << 20,
        }
    }
}

impl LimitsConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.within(
            "limits.requests_per_minute",
            self.requests_per_minute,
            1..=6_000_000,
        );
        checks.within("limits.burst_requests", self.burst_requests, 1..=100_000);
        self.check_others(checks);
        checks.within("limits.kept_answer_ttl_s", self.kept_answer_ttl_s, 1..=24 * 3600);
        checks.within(
            "limits.memory_entries_max",
            self.memory_entries_max,
            1..=10_000_000,
        );
        checks.within(
            "limits.memory_bytes_max",
            self.memory_bytes_max,
            1 << 20..=1 << 34,
        );
    }

    fn check_others(&self, checks: &mut Checks) {
        let rates = [
            ("limits.agent_requests_per_minute", self.agent_requests_per_minute),
            (
                "limits.tenant_requests_per_minute",
                self.tenant_requests_per_minute,
            ),
            (
                "limits.address_requests_per_minute",
                self.address_requests_per_minute,
            ),
            ("limits.commands_per_minute", self.commands_per_minute),
            (
                "limits.refused_credentials_per_minute",
                self.refused_credentials_per_minute,
            ),
        ];
        let bursts = [
            ("limits.agent_burst_requests", self.agent_burst_requests),
            ("limits.tenant_burst_requests", self.tenant_burst_requests),
            ("limits.address_burst_requests", self.address_burst_requests),
            ("limits.burst_commands", self.burst_commands),
            ("limits.burst_refused_credentials", self.burst_refused_credentials),
        ];
        for (key, rate) in rates {
            checks.within(key, rate, 0..=6_000_000);
        }
        for (key, burst) in bursts {
            checks.within(key, burst, 1..=100_000);
        }
    }

    /// What completions count under.
    #[must_use]
    pub fn completions(&self) -> CompletionRates {
        CompletionRates {
            key: Rate::per_minute(self.requests_per_minute, self.burst_requests),
            agent: rate(self.agent_requests_per_minute, self.agent_burst_requests),
            tenant: rate(self.tenant_requests_per_minute, self.tenant_burst_requests),
            address: rate(self.address_requests_per_minute, self.address_burst_requests),
        }
    }

    /// What one principal's commands count under.
    #[must_use]
    pub fn commands(&self) -> Option<Rate> {
        rate(self.commands_per_minute, self.burst_commands)
    }

    /// What refused credentials from one address count under.
    #[must_use]
    pub fn refused_credentials(&self) -> Option<Rate> {
        rate(
            self.refused_credentials_per_minute,
            self.burst_refused_credentials,
        )
    }
}

/// The rates that a completion has to keep to.
#[derive(Debug, Clone, Copy)]
pub struct CompletionRates {
    /// Of its key.
    pub key: Rate,
    /// Of its agent.
    pub agent: Option<Rate>,
    /// Of its tenant.
    pub tenant: Option<Rate>,
    /// Of its sender's address.
    pub address: Option<Rate>,
}

fn rate(per_minute: u32, burst: u32) -> Option<Rate> {
    (per_minute > 0).then(|| Rate::per_minute(per_minute, burst))
}
