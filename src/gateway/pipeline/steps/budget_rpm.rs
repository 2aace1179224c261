//! budget.rpm: requests per key, agent, tenant and address, by a generic cell rate (GCRA) in Redis, or in this process
//! while Redis is away. All of them in one step: a request that one of them refuses is counted under none.
//!
//! Beyond the rate a refusal is counted and not recorded: events are durable writes, and a rate is there to limit them.

use std::net::IpAddr;
use std::time::Duration;

use counterfoil_events::text::Code;
use futures::future::{BoxFuture, FutureExt as _};
use hyper::StatusCode;

use crate::config::CompletionRates;
use crate::gateway::Services;
use crate::gateway::directory::AgentIdentity;
use crate::gateway::pipeline::{Class, Context, Denied, Phase, Run, Step, Verdict};
use crate::gateway::wire::{ApiError, Retry};
use crate::limits::{Rate, Verdict as RateVerdict, gcra};

/// As registered.
#[must_use]
pub fn step() -> Step {
    Step {
        id: Code::literal("budget.rpm"),
        version: 1,
        class: Class::Local,
        phase: Phase::Entry,
        run: Run::Waits(run),
    }
}

fn run(context: &mut Context) -> BoxFuture<'_, Verdict> {
    async move {
        let identity = match context.identity() {
            Ok(identity) => identity,
            Err(verdict) => return verdict,
        };
        let rate = count(&context.services, &identity, context.incoming.remote).await;
        context.rate = Some(rate);
        if rate.allowed {
            return Verdict::Pass;
        }
        Verdict::Deny(Box::new(Denied {
            code: Code::literal("rate_limit_exceeded"),
            reasons: Vec::new(),
            error: beyond(&rate),
            recorded: false,
        }))
    }
    .boxed()
}

/// Counts a request of a key; the verdict that decides.
pub async fn count(services: &Services, identity: &AgentIdentity, remote: Option<IpAddr>) -> RateVerdict {
    let keys = keys(&services.rates, identity, remote);
    let verdicts = services.limiter.count_all(&keys).await;
    // There is always the key's own; without any answer nothing would be counted, and nothing passes.
    gcra::tightest(&verdicts).unwrap_or(NOTHING_PASSES)
}

const NOTHING_PASSES: RateVerdict = RateVerdict {
    limit: 0,
    allowed: false,
    remaining: 0,
    retry_after: Duration::from_secs(1),
    reset_after: Duration::from_secs(1),
};

/// What a request counts under. Agents and keys are named with their tenant: no count is shared between two.
fn keys(rates: &CompletionRates, identity: &AgentIdentity, remote: Option<IpAddr>) -> Vec<(String, Rate)> {
    let tenant = identity.tenant;
    let address = rates.address.zip(remote);
    let others = [
        rates
            .agent
            .map(|rate| (format!("{tenant}:agent:{}", identity.agent), rate)),
        rates.tenant.map(|rate| (format!("{tenant}:all"), rate)),
        address.map(|(rate, remote)| (format!("address:{remote}"), rate)),
    ];
    let key = (format!("{tenant}:key:{}", identity.key_id), rates.key);
    std::iter::once(key).chain(others.into_iter().flatten()).collect()
}

/// For a request beyond its rates.
#[must_use]
pub fn beyond(rate: &RateVerdict) -> ApiError {
    let message =
        "Too many requests with this key, of this agent or of this tenant. Wait as long as retry-after says.";
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message)
        .with_code("rate_limit_exceeded")
        .with_retry(Retry::After(rate.retry_after))
}
