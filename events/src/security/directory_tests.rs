//! Who may act, after which events.
#![allow(clippy::unwrap_used)]

use crate::agent::RiskTier;
use crate::agent::key::{IssuedKey, KeyPepper, PresentedKey};
use crate::bounded::Bounded;
use crate::document::Document;
use crate::membership::Level;
use crate::organisation::OrganisationKind;
use crate::security::change::{FOLDED, PASSED_OVER};

use super::*;

const PEPPER: [u8; 32] = [3; 32];

/// An organisation with a home tenant and another one, and an agent with a key in the latter.
struct World {
    directory: Directory,
    organisation: OrganisationId,
    home: TenantId,
    tenant: TenantId,
    agent: AgentId,
    key: IssuedKey,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            directory: Directory::default(),
            organisation: OrganisationId::generate(),
            home: TenantId::generate(),
            tenant: TenantId::generate(),
            agent: AgentId::generate(),
            key: IssuedKey::generate(&KeyPepper::new(PEPPER)),
        };
        world.begin();
        world
    }

    /// Told twice by some tests: folding again changes nothing.
    fn begin(&mut self) {
        let created = OrganisationEvent::OrganisationCreated {
            kind: OrganisationKind::Company,
            name: "Acme".parse().unwrap(),
            home_tenant: self.home,
        };
        self.platform(Change::Organisation(self.organisation, created));
        for (tenant, home) in [(self.home, true), (self.tenant, false)] {
            let created = TenantEvent::TenantCreated {
                organisation: self.organisation,
                name: "Acme".parse().unwrap(),
                home,
            };
            self.platform(Change::Tenant(tenant, created));
        }
        self.agent(registered(&["gpt-a"]));
        let (key_id, hash) = (self.key.id, self.key.hash);
        self.agent(AgentEvent::AgentKeyIssued {
            key_id,
            hash,
            expires_at: None,
        });
    }

    fn platform(&mut self, change: Change) {
        assert_eq!(self.directory.apply(TenantId::PLATFORM, change), None);
    }

    fn agent(&mut self, event: AgentEvent) {
        let change = Change::Agent(self.agent, event);
        assert_eq!(self.directory.apply(self.tenant, change), None);
    }

    fn policy(&mut self, log: TenantId, layer: PolicyLayer, event: PolicyEvent) -> Option<Activation> {
        self.directory.apply(log, Change::Policy(layer, event))
    }

    /// Publishes a version and lets it decide.
    fn activate(&mut self, log: TenantId, layer: PolicyLayer, version: u32, source: &str) {
        let document = Document::new(source.to_owned()).unwrap();
        let published = PolicyEvent::PolicyPublished {
            version,
            source: document.reference(),
            tests: 1,
        };
        assert_eq!(self.policy(log, layer, published), None);
        let activation = self
            .policy(log, layer, PolicyEvent::PolicyActivated { version })
            .unwrap();
        self.directory.activate(activation, Some(source));
    }

    fn identify(&self) -> Option<KeyIdentity> {
        let presented = PresentedKey::parse(self.key.expose_text()).unwrap();
        let hash = presented.hash(&KeyPepper::new(PEPPER));
        self.directory.identify(presented.prefix(), &hash).unwrap()
    }
}

fn registered(models: &[&str]) -> AgentEvent {
    let models: Vec<_> = models.iter().map(|model| model.parse().unwrap()).collect();
    AgentEvent::AgentRegistered {
        name: "Clerk".parse().unwrap(),
        spec: Document::new("{}".to_owned()).unwrap().reference(),
        models: Bounded::try_from(models).unwrap(),
        tool_scopes: Bounded::default(),
        risk_tier: RiskTier::Limited,
    }
}

fn code(text: &str) -> crate::text::Code {
    text.parse().unwrap()
}

#[test]
fn a_key_stands_for_its_agent_tenant_and_organisation() {
    let world = World::new();
    let identity = world.identify().unwrap();
    assert_eq!(identity.key.tenant, world.tenant);
    assert_eq!(identity.key.agent, world.agent);
    assert_eq!(identity.tenant.organisation, world.organisation);
    assert_eq!(identity.organisation.home_tenant, world.home);
    assert_eq!(identity.agent.models[0].as_str(), "gpt-a");
    assert!(!identity.key.revoked);
    assert!(identity.organisation_policy.is_none() && identity.tenant_policy.is_none());
}

#[test]
fn a_key_that_was_never_issued_stands_for_nothing() {
    let world = World::new();
    let pepper = KeyPepper::new(PEPPER);
    let other = IssuedKey::generate(&pepper);
    let presented = PresentedKey::parse(other.expose_text()).unwrap();
    let found = world
        .directory
        .identify(presented.prefix(), &presented.hash(&pepper))
        .unwrap();
    assert!(found.is_none());
    // The right prefix with another secret.
    let ours = PresentedKey::parse(world.key.expose_text()).unwrap();
    let found = world
        .directory
        .identify(ours.prefix(), &presented.hash(&pepper))
        .unwrap();
    assert!(found.is_none());
}

#[test]
fn revocation_and_suspensions_show_in_what_the_key_stands_for() {
    let mut world = World::new();
    let key_id = world.key.id;
    world.agent(AgentEvent::AgentKeyRevoked {
        key_id,
        reason: code("leaked"),
    });
    world.agent(AgentEvent::AgentSuspended {
        reason: code("review"),
    });
    let reason = code("unpaid");
    world.platform(Change::Tenant(
        world.tenant,
        TenantEvent::TenantSuspended {
            reason,
            level: Level::Platform,
        },
    ));
    let reason = code("fraud");
    let suspended = OrganisationEvent::OrganisationSuspended { reason };
    world.platform(Change::Organisation(world.organisation, suspended));
    let identity = world.identify().unwrap();
    assert!(identity.key.revoked && identity.agent.suspended);
    assert!(identity.tenant.suspended.is_some() && identity.organisation.suspended);

    world.agent(AgentEvent::AgentResumed {});
    world.platform(Change::Tenant(world.tenant, TenantEvent::TenantResumed {}));
    let identity = world.identify().unwrap();
    assert!(identity.key.revoked, "a revoked key stays revoked");
    assert!(!identity.agent.suspended && identity.tenant.suspended.is_none());
}

#[test]
fn a_changed_spec_card_keeps_the_agent_suspended() {
    let mut world = World::new();
    world.agent(AgentEvent::AgentSuspended {
        reason: code("review"),
    });
    let AgentEvent::AgentRegistered {
        name,
        spec,
        models,
        tool_scopes,
        ..
    } = registered(&["gpt-b", "gpt-c"])
    else {
        unreachable!()
    };
    let risk_tier = RiskTier::High;
    world.agent(AgentEvent::AgentChanged {
        name,
        spec,
        models,
        tool_scopes,
        risk_tier,
    });
    let agent = world.identify().unwrap().agent;
    assert!(agent.suspended);
    assert_eq!((agent.models.len(), agent.risk_tier), (2, RiskTier::High));
}

#[test]
fn the_organisations_policy_is_that_of_its_home_tenant() {
    let mut world = World::new();
    let (home, tenant) = (world.home, world.tenant);
    world.activate(home, PolicyLayer::Organisation, 1, "package a");
    world.activate(tenant, PolicyLayer::Tenant, 1, "package b");
    // Written into a log where it has no say.
    world.activate(tenant, PolicyLayer::Organisation, 1, "package everything_goes");
    let identity = world.identify().unwrap();
    assert_eq!(&*identity.organisation_policy.unwrap().source, "package a");
    assert_eq!(&*identity.tenant_policy.unwrap().source, "package b");
}

#[test]
fn a_rolled_back_policy_decides_again_and_one_without_source_never_does() {
    let mut world = World::new();
    let tenant = world.tenant;
    let decides = |world: &World| {
        world
            .directory
            .policy(tenant, PolicyLayer::Tenant)
            .map(|policy| policy.reference.version)
    };
    world.activate(tenant, PolicyLayer::Tenant, 1, "package one");
    world.activate(tenant, PolicyLayer::Tenant, 2, "package two");
    assert_eq!(decides(&world), Some(2));
    let rolled_back = PolicyEvent::PolicyRolledBack { from: 2, to: 1 };
    let activation = world.policy(tenant, PolicyLayer::Tenant, rolled_back).unwrap();
    world.directory.activate(activation, Some("package one"));
    assert_eq!(decides(&world), Some(1));
    world.directory.activate(activation, None);
    assert_eq!(decides(&world), None, "nothing active means deny");
}

#[test]
fn folding_events_again_changes_nothing() {
    let mut world = World::new();
    world.begin();
    let prefix = KeyPrefix::of(world.key.id);
    assert_eq!(world.directory.keys[&prefix].len(), 1);
    assert!(world.identify().is_some());
}

#[test]
fn each_kind_of_the_catalogue_is_folded_or_passed_over() {
    for entry in crate::registry::CATALOGUE {
        let folded = FOLDED.contains(&entry.aggregate);
        let passed = PASSED_OVER.contains(&entry.aggregate);
        assert!(folded != passed, "{}", entry.aggregate);
    }
}

#[test]
fn a_replaced_key_has_an_end_and_read_again_still_has_it() {
    let mut world = World::new();
    let next = IssuedKey::generate(&KeyPepper::new(PEPPER));
    let end: Timestamp = "2026-11-20T13:00:00.000000Z".parse().unwrap();
    let rotated = |old_ends_at| AgentEvent::AgentKeyRotated {
        key_id: next.id,
        hash: next.hash,
        expires_at: None,
        old: world.key.id,
        old_ends_at,
    };
    let (first, later) = (
        rotated(end),
        rotated("2026-11-20T14:00:00.000000Z".parse().unwrap()),
    );
    world.agent(first.clone());
    assert_eq!(world.identify().unwrap().key.expires_at, Some(end));
    assert!(!world.identify().unwrap().key.revoked);
    world.begin();
    world.agent(first);
    // Never later than was said before.
    world.agent(later);
    assert_eq!(world.identify().unwrap().key.expires_at, Some(end));
    assert_eq!(world.directory.keys.values().flatten().count(), 2);
}

#[test]
fn a_key_of_a_tenant_that_has_ended_stands_for_nothing() {
    let mut world = World::new();
    let closed = TenantEvent::TenantClosed {
        reason: code("contract_ended"),
        retain_until: "2036-11-20T12:00:00.000000Z".parse().unwrap(),
    };
    world.platform(Change::Tenant(world.tenant, closed));
    assert!(world.identify().is_none());
    assert!(world.directory.tenant(world.tenant).unwrap().closed);
}
