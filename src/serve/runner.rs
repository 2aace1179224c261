//! The role `runner`: KRIs are measured when they are due, and completions that nobody ended are ended.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_consumers::kri::{RunnerOptions, run_when_due};
use counterfoil_consumers::sweeper::{self, Sweep};
use counterfoil_events::background::Background;
use counterfoil_events::text::Code;

use super::basis::Basis;
use crate::config::KriConfig;
use crate::kri::credential::Credentials;
use crate::kri::platform::SourceReader;

/// The loops of the role `runner`.
pub(super) fn start(basis: &Basis, config: &KriConfig) -> Vec<Background> {
    let sequencer = || basis.sequencer().clone();
    let reader = SourceReader {
        connectors: Arc::clone(&basis.connectors),
        credentials: Credentials::new(Arc::clone(&basis.secrets)),
    };
    let options = runner_options(config);
    vec![
        run_when_due(sequencer(), basis.heads.reader(), Arc::new(reader), options),
        sweeper::start(Sweep::new(sequencer(), &basis.database)),
    ]
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
