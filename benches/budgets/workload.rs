//! The commands that are measured. One unit makes a new aggregate and then changes it: two events.
//!
//! *Runs* are KRI runs, requested and then started: events of 0.7 KB, the size that the budgets were set for.
//! *Completions* are authorised and then settled: what a governed call leaves, with all that the gateway records.

use counterfoil::commands::Commands;
use counterfoil_events::actor::Actor;
use counterfoil_events::command::{CommandContext, Extras, Target};
use counterfoil_events::completion::{
    Authorization, CompletionCommand, FinishReason, Policies, PriceRef, Settlement, StepVerdict, Usage,
    Verdict, Verdicts,
};
use counterfoil_events::envelope::Receipt;
use counterfoil_events::ids::{
    AgentId, ApiKeyId, ContentDigest, DocumentDigest, KriSourceId, PolicyInputDigest, TenantId,
};
use counterfoil_events::kri::aggregates::KriId;
use counterfoil_events::kri::aggregates::run::KriRunCommand;
use counterfoil_events::ledger::IdempotencyClaim;
use counterfoil_events::money::{Micros, Money};
use counterfoil_events::policy::{PolicyLayer, PolicyRef};
use counterfoil_events::text::{Code, ModelName};
use counterfoil_events::timestamp::Timestamp;
use uuid::Uuid;

use crate::load::Meter;

/// What the gateway's steps leave, in order.
const STEPS: [&str; 9] = [
    "identity.authenticate",
    "identity.tenant_bind",
    "identity.key_state",
    "budget.rpm",
    "ingress.schema",
    "policy.authz",
    "policy.model_allow",
    "policy.param_caps",
    "budget.spend_reserve",
];

/// A request of its own, with an Idempotency-Key of its own.
pub fn context(tenant: TenantId) -> CommandContext {
    let request_id = Uuid::now_v7().to_string();
    let key = IdempotencyClaim::new("bench", "/bench", &request_id, request_id.as_bytes());
    CommandContext {
        tenant,
        actor: Actor::system("bench"),
        request_id,
        traceparent: None,
        causation: None,
        idempotency: Some(key),
    }
}

/// Requests and starts KRI runs until the time is over.
pub async fn runs(commands: &Commands, tenant: TenantId, mut meter: Meter) -> anyhow::Result<Meter> {
    while meter.goes_on() {
        let id = Uuid::now_v7().to_string();
        for (target, command) in [
            (Target::New(id.clone()), request_run()?),
            (Target::Existing(id.clone()), start_run()),
        ] {
            let context = context(tenant);
            meter
                .time(async {
                    Ok(commands
                        .kri_runs
                        .execute(&context, target, command, Extras::default())
                        .await?)
                })
                .await?;
        }
    }
    Ok(meter)
}

/// Authorises and settles completions until the time is over.
pub async fn completions(commands: &Commands, tenant: TenantId, mut meter: Meter) -> anyhow::Result<Meter> {
    while meter.goes_on() {
        let id = Uuid::now_v7().to_string();
        meter
            .time(complete(commands, tenant, Target::New(id.clone()), authorize()?))
            .await?;
        meter
            .time(complete(commands, tenant, Target::Existing(id), settle()?))
            .await?;
    }
    Ok(meter)
}

/// One command to a completion.
pub async fn complete(
    commands: &Commands,
    tenant: TenantId,
    target: Target,
    command: CompletionCommand,
) -> anyhow::Result<Receipt> {
    let context = context(tenant);
    let executed = commands
        .completions
        .execute(&context, target, command, Extras::default())
        .await?;
    let receipt = executed.receipts.into_iter().next();
    receipt.ok_or_else(|| anyhow::anyhow!("a command without an event"))
}

/// A run is asked for.
pub fn request_run() -> anyhow::Result<KriRunCommand> {
    let kri: KriId = "open-incident-age".parse()?;
    Ok(KriRunCommand::Request {
        kri,
        source: KriSourceId::generate(),
        measured_at: None,
        now: Timestamp::now(),
    })
}

/// A runner takes it.
pub fn start_run() -> KriRunCommand {
    KriRunCommand::Start {
        runner: Code::literal("runner-018f3b5e000070008000000000000001"),
        lease_ms: 90_000,
        now: Timestamp::now(),
    }
}

/// The gateway lets a call pass.
pub fn authorize() -> anyhow::Result<CompletionCommand> {
    let policy = |layer, version| PolicyRef {
        layer,
        version,
        digest: DocumentDigest([0xcc; 32]),
    };
    let policies = vec![
        policy(PolicyLayer::Organisation, 1),
        policy(PolicyLayer::Tenant, 2),
    ];
    Ok(CompletionCommand::Authorize(Box::new(Authorization {
        agent: AgentId(Uuid::from_u128(0xa1)),
        key_id: ApiKeyId(Uuid::from_u128(0xb1)),
        model: "demo-small".parse::<ModelName>()?,
        provider: Code::literal("demo"),
        stream: false,
        policies: Policies::try_from(policies)?,
        policy_input_digest: PolicyInputDigest([0xee; 32]),
        request_digest: ContentDigest([0xff; 32]),
        request_bytes: 812,
        input_tokens_bound: 180,
        output_tokens_cap: 256,
        max_cost: usd(1470)?,
        price: PriceRef {
            id: Code::literal("demo-small-2026"),
            date: chrono::NaiveDate::from_ymd_opt(2026, 7, 1).unwrap_or_default(),
        },
        verdicts: Verdicts::try_from(STEPS.map(verdict).into_iter().collect::<Vec<_>>())?,
        timeout_ms: 120_000,
        secret: None,
    })))
}

/// It has been answered.
pub fn settle() -> anyhow::Result<CompletionCommand> {
    Ok(CompletionCommand::Settle(Box::new(Settlement {
        usage: Usage {
            input_tokens: 163,
            output_tokens: 42,
            cached_tokens: 0,
            estimated: false,
        },
        cost: usd(415)?,
        response_digest: ContentDigest([0x11; 32]),
        response_bytes: 604,
        finish_reason: FinishReason::Stop,
        attempts: 1,
        provider_ms: 310,
        total_ms: 314,
        verdicts: Verdicts::try_from(vec![verdict("accounting.settle")])?,
    })))
}

fn usd(micros: i64) -> anyhow::Result<Money> {
    Ok(Money {
        micros: Micros(micros),
        currency: "USD".parse()?,
    })
}

fn verdict(step: &'static str) -> StepVerdict {
    StepVerdict {
        step: Code::literal(step),
        version: 1,
        verdict: Verdict::Pass,
        micros: 11,
    }
}
