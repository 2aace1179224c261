//! The security state follows Postgres, whatever else is away, and says when it cannot.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod damage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use counterfoil::commands::Commands;
use counterfoil::stack::ServerKind;
use counterfoil_events::actor::Actor;
use counterfoil_events::agent::key::{IssuedKey, KeyPepper, PresentedKey};
use counterfoil_events::agent::{AgentCommand, RiskTier, SpecCard};
use counterfoil_events::backbone::HeadWatch;
use counterfoil_events::background::Background;
use counterfoil_events::command::{CommandContext, Extras, Target};
use counterfoil_events::document::Document;
use counterfoil_events::ids::{AgentId, OrganisationId, TenantId};
use counterfoil_events::ledger::NewHead;
use counterfoil_events::organisation::{OrganisationCommand, OrganisationKind};
use counterfoil_events::policy::{PolicyCommand, PolicyLayer};
use counterfoil_events::security::{
    DamagedLog, Freshness, KeyIdentity, SecurityState, TailParts, keep_at_the_head,
};
use counterfoil_events::tenant::TenantCommand;
use counterfoil_events::timestamp::{SystemClock, Timestamp};

use crate::support::ledger::{TestLedger, request};
use crate::support::stack::{private_stack, shared_stack};

const PATIENCE: Duration = Duration::from_secs(60);

fn pepper() -> KeyPepper {
    KeyPepper::new([3; 32])
}

/// A ledger with an organisation, its home tenant, and an agent with a key in it.
struct World {
    ledger: TestLedger,
    commands: Commands,
    organisation: OrganisationId,
    tenant: TenantId,
    agent: AgentId,
    key: IssuedKey,
}

fn context(tenant: TenantId) -> CommandContext {
    CommandContext {
        tenant,
        actor: Actor::system("test"),
        request_id: uuid::Uuid::now_v7().to_string(),
        traceparent: None,
        causation: None,
        idempotency: None,
    }
}

impl World {
    async fn new() -> Self {
        let admin = shared_stack().endpoints().postgres_admin();
        Self::on(TestLedger::bare(admin, Arc::new(SystemClock)).await).await
    }

    async fn on(ledger: TestLedger) -> Self {
        let world = Self {
            commands: Commands::new(ledger.sequencer.clone(), 1),
            tenant: ledger.tenant,
            organisation: OrganisationId::generate(),
            agent: AgentId::generate(),
            key: IssuedKey::generate(&pepper()),
            ledger,
        };
        world.create_organisation().await;
        world.register_agent().await;
        world
    }

    async fn create_organisation(&self) {
        let Self {
            commands,
            organisation,
            tenant,
            ..
        } = self;
        let platform = context(TenantId::PLATFORM);
        let (kind, name) = (OrganisationKind::Company, "Acme".parse().unwrap());
        let create = OrganisationCommand::Create {
            kind,
            name,
            home_tenant: *tenant,
        };
        let target = Target::New(organisation.to_string());
        commands
            .organisations
            .execute(&platform, target, create, Extras::default())
            .await
            .unwrap();
        let name = "Acme".parse().unwrap();
        let create = TenantCommand::Create {
            organisation: *organisation,
            name,
            home: true,
        };
        let head = NewHead {
            tenant: *tenant,
            partition: 0,
        };
        let extras = Extras {
            new_heads: vec![head],
            ..Extras::default()
        };
        let target = Target::New(tenant.to_string());
        commands
            .tenants
            .execute(&platform, target, create, extras)
            .await
            .unwrap();
    }

    async fn register_agent(&self) {
        let card = SpecCard {
            name: "Clerk".parse().unwrap(),
            owner: "claims".parse().unwrap(),
            purpose: "answers".parse().unwrap(),
            models: vec!["demo".parse().unwrap()].try_into().unwrap(),
            tool_scopes: Default::default(),
            risk_tier: RiskTier::Limited,
        };
        let extras = Extras {
            documents: vec![card.document().unwrap()],
            ..Extras::default()
        };
        self.agent(
            Target::New(self.agent.to_string()),
            AgentCommand::Register { card },
            extras,
        )
        .await;
        let (key_id, hash) = (self.key.id, self.key.hash);
        let issue = AgentCommand::IssueKey {
            key_id,
            hash,
            expires_at: None,
            now: Timestamp::now(),
        };
        self.agent(Target::Existing(self.agent.to_string()), issue, Extras::default())
            .await;
    }

    async fn agent(&self, target: Target, command: AgentCommand, extras: Extras) {
        let context = context(self.tenant);
        self.commands
            .agents
            .execute(&context, target, command, extras)
            .await
            .unwrap();
    }

    async fn revoke(&self) {
        let reason = "leaked".parse().unwrap();
        let revoke = AgentCommand::RevokeKey {
            key_id: self.key.id,
            reason,
        };
        self.agent(
            Target::Existing(self.agent.to_string()),
            revoke,
            Extras::default(),
        )
        .await;
    }

    async fn policy(
        &self,
        layer: PolicyLayer,
        target: fn(String) -> Target,
        command: PolicyCommand,
        extras: Extras,
    ) {
        let context = context(self.tenant);
        let target = target(layer.to_string());
        self.commands
            .policies
            .execute(&context, target, command, extras)
            .await
            .unwrap();
    }

    fn find(&self, state: &SecurityState) -> Result<Option<KeyIdentity>, DamagedLog> {
        state.identify(&PresentedKey::parse(self.key.expose_text()).unwrap(), &pepper())
    }

    fn identify(&self, state: &SecurityState) -> Option<KeyIdentity> {
        self.find(state).unwrap()
    }
}

/// A security state as a process has it.
struct Watcher {
    state: SecurityState,
    heads: HeadWatch,
    tail: Background,
}

impl Watcher {
    /// In the process that commits, or in another one.
    fn start(ledger: &TestLedger, same_process: bool) -> Self {
        let heads = HeadWatch::start(ledger.reader.clone(), Duration::from_millis(250));
        let state = SecurityState::default();
        let parts = TailParts {
            database: ledger.database.clone(),
            heads: heads.reader(),
            notices: same_process.then(|| ledger.sequencer.subscribe()),
        };
        let tail = keep_at_the_head(state.clone(), parts);
        Self { state, heads, tail }
    }

    async fn until(&self, what: &str, mut came_true: impl FnMut(&SecurityState) -> bool) {
        let began = Instant::now();
        while !came_true(&self.state) {
            assert!(
                began.elapsed() < PATIENCE,
                "{what}: not so; {:?}",
                self.state.freshness()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) {
        self.tail.stop().await;
        self.heads.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_learns_of_a_revocation_without_nats() {
    let world = World::new().await;
    // Nothing here connects to NATS at all.
    let (ours, others) = (
        Watcher::start(&world.ledger, true),
        Watcher::start(&world.ledger, false),
    );
    for watcher in [&ours, &others] {
        watcher.until("ready", SecurityState::is_ready).await;
        let identity = world.identify(&watcher.state).unwrap();
        assert!(!identity.key.revoked);
        assert_eq!(identity.tenant.organisation, world.organisation);
        assert_eq!(
            (identity.key.tenant, identity.key.agent),
            (world.tenant, world.agent)
        );
    }
    world.revoke().await;
    for watcher in [&ours, &others] {
        let revoked = |state: &SecurityState| world.identify(state).unwrap().key.revoked;
        watcher.until("revoked", revoked).await;
        assert!(watcher.state.freshness().may_answer());
    }
    ours.stop().await;
    others.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activated_policy_decides_with_its_source_and_a_rollback_brings_back_the_one_before() {
    let world = World::new().await;
    let watcher = Watcher::start(&world.ledger, true);
    for (version, source) in [(1, "package one"), (2, "package two")] {
        let document = Document::new(source.to_owned()).unwrap();
        let publish = PolicyCommand::Publish {
            source: document.reference(),
            tests: 1,
        };
        let extras = Extras {
            documents: vec![document],
            ..Extras::default()
        };
        world
            .policy(PolicyLayer::Organisation, Target::Existing, publish, extras)
            .await;
        let activate = PolicyCommand::Activate { version };
        world
            .policy(
                PolicyLayer::Organisation,
                Target::Existing,
                activate,
                Extras::default(),
            )
            .await;
    }
    let decides = |source: &'static str| {
        let tenant = world.tenant;
        move |state: &SecurityState| {
            let active = state.policy(tenant, PolicyLayer::Organisation);
            active.is_some_and(|active| &*active.source == source)
        }
    };
    watcher.until("two decides", decides("package two")).await;
    let back = PolicyCommand::RollBack { to: None };
    world
        .policy(
            PolicyLayer::Organisation,
            Target::Existing,
            back,
            Extras::default(),
        )
        .await;
    watcher.until("one decides", decides("package one")).await;
    assert!(world.identify(&watcher.state).unwrap().tenant_policy.is_none());

    // Another process that starts now arrives at the same.
    let late = Watcher::start(&world.ledger, false);
    late.until("ready", SecurityState::is_ready).await;
    assert!(decides("package one")(&late.state));
    late.stop().await;
    watcher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_this_build_does_not_know_stops_the_state_and_everything_is_denied() {
    let world = World::new().await;
    let watcher = Watcher::start(&world.ledger, true);
    watcher.until("ready", SecurityState::is_ready).await;
    world
        .ledger
        .sequencer
        .append(request(world.tenant, "agent", &world.agent.to_string(), 2))
        .await
        .unwrap();
    let stopped = |state: &SecurityState| matches!(state.freshness(), Freshness::Stopped { .. });
    watcher.until("stopped", stopped).await;
    let Freshness::Stopped { reason } = watcher.state.freshness() else {
        unreachable!()
    };
    assert!(reason.contains("unknown event agent/TestHappened"), "{reason}");
    assert!(!watcher.state.is_ready());

    // One that starts now does not become ready either; nor does a kind of aggregate pass that is not known.
    let late = Watcher::start(&world.ledger, false);
    late.until("stopped", stopped).await;
    late.stop().await;
    watcher.stop().await;
    let other = World::new().await;
    other
        .ledger
        .sequencer
        .append(request(other.tenant, "membership", "a", 0))
        .await
        .unwrap();
    let late = Watcher::start(&other.ledger, false);
    late.until("stopped", stopped).await;
    late.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_the_state_ages_until_it_denies_and_recovers_with_it() {
    let (_dir, stack) = private_stack().await;
    let admin = stack.endpoints().postgres_admin();
    let world = World::on(TestLedger::bare(admin, Arc::new(SystemClock)).await).await;
    let watcher = Watcher::start(&world.ledger, true);
    watcher
        .until("fresh", |state| state.freshness() == Freshness::Fresh)
        .await;
    stack.halt(ServerKind::Postgres).await.unwrap();
    watcher
        .until("degraded", |state| {
            matches!(state.freshness(), Freshness::Degraded { .. })
        })
        .await;
    watcher
        .until("denied", |state| {
            matches!(state.freshness(), Freshness::Stale { age: Some(_) })
        })
        .await;
    assert!(
        world.identify(&watcher.state).is_some(),
        "it is the age that denies, not oblivion"
    );
    stack.resume(ServerKind::Postgres).await.unwrap();
    watcher
        .until("fresh again", |state| state.freshness() == Freshness::Fresh)
        .await;
    world.revoke().await;
    watcher
        .until("revoked", |state| world.identify(state).unwrap().key.revoked)
        .await;
    watcher.stop().await;
    stack.stop().await;
}
