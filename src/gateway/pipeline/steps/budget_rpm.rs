//! budget.rpm: requests per key, by a generic cell rate (GCRA) in Redis, or in this process while Redis is away.
//!
//! Beyond the rate a refusal is counted and not recorded: events are durable writes, and a rate is there to limit them.

use counterfoil_events::text::Code;
use futures::future::{BoxFuture, FutureExt as _};
use hyper::StatusCode;

use crate::gateway::Services;
use crate::gateway::directory::AgentIdentity;
use crate::gateway::pipeline::{Class, Context, Denied, Phase, Run, Step, Verdict};
use crate::gateway::wire::{ApiError, Retry};
use crate::limits::Verdict as RateVerdict;

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
        let rate = count(&context.services, &identity).await;
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

/// Counts a request of a key.
pub async fn count(services: &Services, identity: &AgentIdentity) -> RateVerdict {
    let key = format!("agent-key:{}", identity.key_id);
    services.limiter.count(&key, services.rate).await
}

/// For a key beyond its rate.
#[must_use]
pub fn beyond(rate: &RateVerdict) -> ApiError {
    let message = "Too many requests with this key. Wait as long as retry-after says.";
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message)
        .with_code("rate_limit_exceeded")
        .with_retry(Retry::After(rate.retry_after))
}
