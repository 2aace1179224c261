//! What the steps of one call share: what came, what they stand on, what they have found.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use counterfoil_events::agent::key::PresentedKey;
use counterfoil_events::command::CommandContext;
use counterfoil_events::completion::{StepVerdict, Usage as RecordedUsage};
use counterfoil_events::envelope::Receipt;
use counterfoil_events::ids::{CompletionId, ContentDigest};
use counterfoil_events::money::Money;
use counterfoil_events::text::Code;
use counterfoil_events::timestamp::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Denied, Edit, Verdict};
use crate::gateway::Services;
use crate::gateway::catalogue::Model;
use crate::gateway::directory::AgentIdentity;
use crate::gateway::ending::Ending;
use crate::gateway::prices::Price;
use crate::gateway::wire::ChatRequest;
use crate::limits::Verdict as RateVerdict;
use crate::policy::PolicyDecision;
use crate::vault::sealing::Ready;

/// A call as it arrives.
pub struct Incoming {
    /// The presented key, if it has a key's form.
    pub key: Option<PresentedKey>,
    /// The tenant that the caller says it is, where it says so.
    pub claimed_tenant: Option<String>,
    /// For the events: tenant and actor of the key, request id, trace, Idempotency-Key.
    pub command: CommandContext,
    /// The Idempotency-Key as it came.
    pub idempotency_key: Option<String>,
    /// The body as it came.
    pub body: Bytes,
    /// The address that the call came from.
    pub remote: Option<IpAddr>,
    /// Cancelled when this process is about to stop: the call ends with what there is.
    pub stopping: CancellationToken,
}

/// What a call may use and cost at most.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// At which price.
    pub price: Price,
    /// Upper bound of the tokens in.
    pub input_tokens: u64,
    /// Upper bound of the tokens out, all choices together.
    pub output_tokens: u64,
    /// What that costs.
    pub max_cost: Money,
}

/// What a call has used and cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bill {
    /// In tokens.
    pub usage: RecordedUsage,
    /// In money.
    pub cost: Money,
}

/// A denial and the step that it is from.
#[derive(Debug, Clone)]
pub struct Denial {
    /// Which step.
    pub step: Code,
    /// Why.
    pub denied: Denied,
}

/// One call on its way through the steps.
pub struct Context {
    /// What the steps stand on.
    pub services: Arc<Services>,
    /// Names the completion.
    pub id: CompletionId,
    /// When the call came, on the clock.
    pub now: Timestamp,
    /// When the call came, to measure from.
    pub started: Instant,
    /// What came.
    pub incoming: Incoming,
    /// Digest of the body.
    pub request_digest: ContentDigest,
    /// Length of the body, which itself is let go once the provider has been called.
    pub request_bytes: u64,
    /// Whose key it is, once known.
    pub identity: Option<Arc<AgentIdentity>>,
    /// Whether the call is bound to its tenant: from then on a denial leaves an event.
    pub bound: bool,
    /// Where the tightest of its rates stands.
    pub rate: Option<RateVerdict>,
    /// The body, checked.
    pub request: Option<Arc<ChatRequest>>,
    /// What the policies said.
    pub decision: Option<PolicyDecision>,
    /// Which model is called.
    pub model: Option<Arc<Model>>,
    /// The limit in force on each answer's tokens.
    pub max_tokens: Option<u64>,
    /// What it may cost.
    pub reservation: Option<Reservation>,
    /// The provider's key, ready to be opened, where it is in the vault.
    pub provider_key: Option<Ready>,
    /// Edits of the body that is forwarded.
    pub edits: Vec<Edit>,
    /// How it ended.
    pub ending: Option<Ending>,
    /// What it has used and cost.
    pub bill: Option<Bill>,
    /// The receipt of its last event.
    pub receipt: Option<Receipt>,
    /// What the steps have said so far.
    pub verdicts: Vec<StepVerdict>,
    /// Whether a step raised a flag.
    pub flagged: bool,
    /// Whether it could not be found out if the log took its ending.
    pub outcome_unknown: bool,
}

impl Context {
    /// At the start.
    #[must_use]
    pub fn new(services: Arc<Services>, incoming: Incoming) -> Self {
        Self {
            id: CompletionId::generate(),
            now: services.clock.now(),
            started: Instant::now(),
            request_digest: ContentDigest::of(&incoming.body),
            request_bytes: incoming.body.len() as u64,
            services,
            incoming,
            identity: None,
            bound: false,
            rate: None,
            request: None,
            decision: None,
            model: None,
            max_tokens: None,
            reservation: None,
            provider_key: None,
            edits: Vec::new(),
            ending: None,
            bill: None,
            receipt: None,
            verdicts: Vec::new(),
            flagged: false,
            outcome_unknown: false,
        }
    }

    /// The identity that identity.authenticate found.
    ///
    /// # Errors
    /// The verdict of a step that comes too early.
    pub fn identity(&self) -> Result<Arc<AgentIdentity>, Verdict> {
        self.identity.clone().ok_or_else(|| Verdict::missing("identity"))
    }

    /// The request that ingress.schema read.
    ///
    /// # Errors
    /// The verdict of a step that comes too early.
    pub fn request(&self) -> Result<Arc<ChatRequest>, Verdict> {
        self.request.clone().ok_or_else(|| Verdict::missing("request"))
    }

    /// The model that policy.model_allow chose.
    ///
    /// # Errors
    /// The verdict of a step that comes too early.
    pub fn model(&self) -> Result<Arc<Model>, Verdict> {
        self.model.clone().ok_or_else(|| Verdict::missing("model"))
    }

    /// Lets go of what was asked: from here on only its digest, length and bounds matter, and a long stream should
    /// not hold the conversation that it answers.
    pub fn release_request(&mut self) {
        self.incoming.body = Bytes::new();
        self.request = None;
    }

    /// Milliseconds since the call came.
    #[must_use]
    pub fn elapsed_ms(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_millis()).unwrap_or(u32::MAX)
    }
}
