//! A log that was set back is read anew; one that is damaged denies those it has a say in, and nobody else.

use std::sync::Arc;
use std::time::Duration;

use counterfoil::commands::Commands;
use counterfoil_events::agent::AgentCommand;
use counterfoil_events::backbone::HeadWatch;
use counterfoil_events::command::{Extras, Target};
use counterfoil_events::security::{Freshness, SecurityState, TailParts, keep_at_the_head};
use counterfoil_events::timestamp::SystemClock;

use super::{Watcher, World};
use crate::audit::support::tamper;
use crate::support::ledger::TestLedger;
use crate::support::stack::shared_stack;

/// What a restore to an earlier moment does to a tenant's log, or a standby that lacks its end.
const SET_BACK_TO_2: &str = "DELETE FROM counterfoil.events WHERE tenant_id = $tenant AND position > 2;
     UPDATE counterfoil.chain_heads h SET position = 2, hash = e.hash, recorded_at = e.recorded_at
     FROM counterfoil.events e WHERE h.tenant_id = $tenant AND e.tenant_id = $tenant AND e.position = 2";

impl World {
    /// Another organisation's, in the same log of the platform.
    async fn beside(other: &Self) -> Self {
        let ledger = &other.ledger;
        Self::on(TestLedger {
            admin: ledger.admin.clone(),
            options: ledger.options.clone(),
            database: ledger.database.clone(),
            sequencer: ledger.sequencer.clone(),
            reader: ledger.reader.clone(),
            tenant: counterfoil_events::ids::TenantId::generate(),
        })
        .await
    }

    /// Two events that leave everything as it was.
    async fn pause(&self) {
        let reason = "look".parse().unwrap();
        for command in [AgentCommand::Suspend { reason }, AgentCommand::Resume] {
            let target = Target::Existing(self.agent.to_string());
            self.agent(target, command, Extras::default()).await;
        }
    }

    /// As a process that starts now knows it.
    fn forget_what_is_cached(&mut self) {
        self.ledger.sequencer = self.ledger.another_sequencer();
        self.commands = Commands::new(self.ledger.sequencer.clone(), 1);
    }

    fn is_revoked(&self, state: &SecurityState) -> bool {
        self.find(state)
            .ok()
            .flatten()
            .is_some_and(|found| found.key.revoked)
    }
}

/// A state whose heads are scanned when the test says so, and once an hour.
fn scanned_by_hand(ledger: &TestLedger) -> Watcher {
    let heads = HeadWatch::start(ledger.reader.clone(), Duration::from_secs(3600));
    let state = SecurityState::default();
    let parts = TailParts {
        database: ledger.database.clone(),
        heads: heads.reader(),
        notices: None,
    };
    let tail = keep_at_the_head(state.clone(), parts);
    Watcher { state, heads, tail }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_in_a_log_that_was_set_back_is_read_although_the_log_was_longer_before() {
    let mut world = World::new().await;
    world.pause().await;
    world.pause().await;
    let watcher = Watcher::start(&world.ledger, true);
    watcher.until("ready", SecurityState::is_ready).await;
    assert!(!world.is_revoked(&watcher.state));
    tamper(&world.ledger, SET_BACK_TO_2).await;
    world.forget_what_is_cached();
    world.revoke().await;
    watcher.until("revoked", |state| world.is_revoked(state)).await;
    watcher.until("ready again", SecurityState::is_ready).await;
    watcher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_in_a_log_that_was_set_back_is_read_although_the_log_is_longer_again() {
    let mut world = World::new().await;
    world.pause().await;
    let watcher = scanned_by_hand(&world.ledger);
    watcher.until("ready", SecurityState::is_ready).await;
    tamper(&world.ledger, SET_BACK_TO_2).await;
    world.forget_what_is_cached();
    world.revoke().await;
    world.pause().await;
    watcher.heads.reader().scan_now();
    watcher.until("revoked", |state| world.is_revoked(state)).await;
    watcher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_event_of_one_tenant_denies_that_tenant_and_no_other() {
    denies_its_tenant_alone("left(envelope, 40)").await;
}

/// Whoever makes a high risk a minimal one leaves an envelope that reads as well as before.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_says_something_else_than_was_hashed_is_damage_although_it_reads_well() {
    denies_its_tenant_alone("replace(envelope, '\"limited\"', '\"minimal\"')").await;
}

async fn denies_its_tenant_alone(altered: &str) {
    let world = World::new().await;
    let other = World::beside(&world).await;
    let damage = format!(
        "UPDATE counterfoil.events SET envelope = {altered} \
         WHERE tenant_id = $tenant AND position = 1 AND envelope <> {altered}"
    );
    let before = world.ledger.events(world.tenant).await[0]
        .recorded
        .envelope
        .clone();
    tamper(&world.ledger, &damage).await;
    assert_ne!(
        world.ledger.events(world.tenant).await[0].recorded.envelope,
        before
    );
    // As after a restart: it is read from the beginning.
    let watcher = Watcher::start(&world.ledger, true);
    watcher.until("ready", SecurityState::is_ready).await;
    let damaged = world.find(&watcher.state).unwrap_err();
    assert_eq!(damaged.tenant, world.tenant);
    assert!(damaged.reason.contains("damaged"), "{damaged}");
    assert!(other.identify(&watcher.state).is_some());
    assert_eq!(
        watcher.state.damaged().keys().collect::<Vec<_>>(),
        [&world.tenant]
    );
    // And it goes on for the others.
    other.revoke().await;
    watcher.until("revoked", |state| other.is_revoked(state)).await;
    assert!(world.find(&watcher.state).is_err());
    watcher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_missing_is_damage_in_whole_logs_and_in_what_came_since() {
    let world = World::new().await;
    let running = scanned_by_hand(&world.ledger);
    running.until("ready", SecurityState::is_ready).await;
    world.revoke().await;
    world.pause().await;
    // The revocation.
    let damage = "DELETE FROM counterfoil.events WHERE tenant_id = $tenant AND position = 3";
    tamper(&world.ledger, damage).await;
    running.heads.reader().scan_now();
    running.until("denied", |state| world.find(state).is_err()).await;
    let late = Watcher::start(&world.ledger, false);
    late.until("ready", SecurityState::is_ready).await;
    let damaged = world.find(&late.state).unwrap_err();
    assert!(damaged.reason.contains("event 3 of agent/"), "{damaged}");
    late.stop().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_event_of_the_platform_denies_everybody() {
    let admin = shared_stack().endpoints().postgres_admin();
    let world = World::on(TestLedger::bare(admin, Arc::new(SystemClock)).await).await;
    let damage = "UPDATE counterfoil.events SET envelope = left(envelope, 40)
                  WHERE tenant_id = '00000000-0000-0000-0000-000000000000' AND aggregate = 'tenant'";
    tamper(&world.ledger, damage).await;
    let watcher = Watcher::start(&world.ledger, true);
    let stopped = |state: &SecurityState| matches!(state.freshness(), Freshness::Stopped { .. });
    watcher.until("stopped", stopped).await;
    watcher.stop().await;
}
