//! The role `runner`: KRIs are measured when they are due, and completions that nobody ended are ended.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_consumers::kri::{KriRunner, RunnerOptions};
use counterfoil_consumers::sweeper::{Sweep, Sweeper};
use counterfoil_events::backbone::Heartbeat;
use counterfoil_events::text::Code;

use super::basis::Basis;
use crate::config::KriConfig;
use crate::kri::credential::Credentials;
use crate::kri::platform::SourceReader;

/// The parts of the role `runner`.
pub(super) struct RunnerRole {
    kris: KriRunner,
    sweeper: Sweeper,
}

impl RunnerRole {
    pub(super) fn start(basis: &Basis, config: &KriConfig) -> Self {
        let sequencer = || basis.sequencer().clone();
        let reader = SourceReader {
            connectors: Arc::clone(&basis.connectors),
            credentials: Credentials::new(Arc::clone(&basis.secrets)),
        };
        Self {
            kris: KriRunner::start(
                sequencer(),
                basis.heads.reader(),
                Arc::new(reader),
                runner_options(config),
            ),
            sweeper: Sweeper::start(Sweep::new(sequencer(), &basis.database)),
        }
    }

    pub(super) fn heartbeats(&self) -> [&Heartbeat; 2] {
        [self.kris.heartbeat(), self.sweeper.heartbeat()]
    }

    pub(super) async fn stop(self) {
        self.sweeper.stop().await;
        self.kris.stop().await;
    }
}

/// This process's runner: named so that the log tells runners apart.
fn runner_options(config: &KriConfig) -> RunnerOptions {
    let name = format!("runner-{}", uuid::Uuid::now_v7().simple());
    RunnerOptions {
        // Lower-case letters, digits and `-`, 39 characters: always a code.
        name: name.parse().unwrap_or(Code::literal("runner")),
        concurrent_runs: config.concurrent_runs,
        lease: Duration::from_secs(config.lease_s),
    }
}
