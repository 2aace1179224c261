//! What every role stands on: Postgres, the log, the backbone, and the news of both.
//!
//! Started from the ground up; stopped from the top down.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_consumers::news::NewsSources;
use counterfoil_events::backbone::{Backbone, BackboneStatus, HeadWatch, send_wake_ups};
use counterfoil_events::background::{Background, Heartbeat};
use counterfoil_events::ledger::{Database, LogReader, Sequencer, SequencerOptions};
use counterfoil_events::timestamp::SystemClock;

use super::ServeError;
use super::backbone::backbone_options;
use crate::commands::Commands;
use crate::config::Config;
use crate::kri::Connectors;
use crate::kri::platform::PlatformFigures;
use crate::signing::KeyFile;
use crate::vault::{Kms, Secrets, Vault};

/// How often the heads are looked at, besides the notices of commits.
const HEAD_POLL: Duration = Duration::from_millis(250);

/// What every role stands on.
pub(super) struct Basis {
    /// All connections to Postgres.
    pub(super) database: Database,
    /// All commands.
    pub(super) commands: Arc<Commands>,
    /// The streams.
    pub(super) backbone: Backbone,
    /// How many streams there are.
    pub(super) partitions: u32,
    /// How the relays are, if there are any.
    pub(super) status: BackboneStatus,
    /// Where each tenant's log stands.
    pub(super) heads: HeadWatch,
    /// How KRIs are fetched: by a runner, and by whoever tries a source.
    pub(super) connectors: Arc<Connectors<PlatformFigures>>,
    /// What secrets are sealed and opened by.
    pub(super) secrets: Arc<Secrets>,
    wake_ups: Background,
}

impl Basis {
    /// Whatever can fail comes before the first task: there is nothing to be ended then.
    pub(super) async fn start(config: &Config, kms: Arc<dyn Kms>) -> Result<Self, ServeError> {
        let database = Database::new(&config.postgres.database_options());
        database.check_durability().await?;
        let vault_kms = Arc::clone(&kms);
        let key = KeyFile::new(&config.signing.key_file, kms).current().await?;
        let backbone = Backbone::connect(backbone_options(&config.nats).await?).await?;

        let options = SequencerOptions::default();
        let sequencer = Sequencer::new(database.clone(), key, Arc::new(SystemClock), options);
        let heads = HeadWatch::start(LogReader::new(database.log().clone()), HEAD_POLL);
        let wake_ups = send_wake_ups(backbone.clone(), sequencer.subscribe(), heads.reader());
        let commands = Arc::new(Commands::new(sequencer, config.nats.partitions));
        let vault = Vault::new(database.clone(), vault_kms);
        let figures = PlatformFigures::new(database.log().clone());
        Ok(Self {
            database,
            secrets: Arc::new(Secrets::new(vault, Arc::clone(&commands))),
            commands,
            backbone,
            partitions: config.nats.partitions,
            status: BackboneStatus::default(),
            heads,
            connectors: Arc::new(Connectors::new(&config.kri.fetch, figures)),
            wake_ups,
        })
    }

    /// The log's writer.
    pub(super) fn sequencer(&self) -> &Sequencer {
        &self.commands.sequencer
    }

    pub(super) fn heartbeats(&self) -> [&Heartbeat; 2] {
        [self.heads.heartbeat(), self.wake_ups.heartbeat()]
    }

    /// Where followers hear of commits: this process's, and the hints of others.
    pub(super) fn news(&self) -> NewsSources {
        NewsSources {
            heads: self.heads.reader(),
            notices: self.sequencer().subscribe(),
            hints: Some((self.backbone.clone(), self.partitions)),
        }
    }

    pub(super) async fn stop(self) {
        self.wake_ups.stop().await;
        self.heads.stop().await;
        self.commands.sequencer.stop().await;
        self.database.close().await;
    }
}
