//! An installation with a small world in it, processes on it, and clients: what most faults are done to.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use counterfoil::stack::Endpoints;
use counterfoil_events::ids::TenantId;

use super::load::{Live, Load, Tenant, Told};
use crate::support::installation::Installation;
use crate::support::invariants::Checker;
use crate::support::random::Random;
use crate::support::served::Served;
use crate::support::world::World;

const CLIENTS: usize = 6;
const TENANTS: usize = 2;
/// What died with its process is taken up again soon; nobody meets a limit.
const SETTINGS: &str = "[kri]\nlease_s = 10\n[kri.fetch]\ntotal_timeout_ms = 5000\n[gateway]\ndemo_provider = true\n\
                        [limits]\nrequests_per_minute = 600000\nburst_requests = 100000\n";

pub struct Site {
    pub installation: Installation,
    pub tenants: Vec<Tenant>,
    pub checker: Checker,
    pub live: Live,
    pub told: Told,
    /// Where each log stood before the clients began.
    before: BTreeMap<TenantId, u64>,
}

impl Site {
    /// Two tenants, made through a process that is stopped again.
    pub async fn new(endpoints: &Endpoints) -> Self {
        let installation = Installation::on(endpoints, SETTINGS).await;
        let server = installation.serve().await;
        let mut tenants = Vec::new();
        for _ in 0..TENANTS {
            let world = World::new(&server, &["demo-small"]).await;
            let source = world.add_kri_source(&server).await;
            tenants.push(Tenant { world, source });
        }
        server.stop().await;
        let checker = Checker::of(&installation).await;
        let mut before = BTreeMap::new();
        for tenant in &tenants {
            let tenant = tenant.world.tenant;
            let head = checker.reader().head(tenant).await.unwrap().unwrap();
            before.insert(tenant, head.head.position.0);
        }
        Self {
            installation,
            tenants,
            checker,
            live: Live::default(),
            told: Told::default(),
            before,
        }
    }

    /// A process that takes requests, agents' too.
    pub async fn serve(&self) -> Served {
        let served = self.installation.serve().await;
        self.live.add(&served.url);
        served
    }

    /// What all its processes have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.installation.log_file()).unwrap()
    }

    pub fn load(&self, random: &mut Random) -> Load {
        Load::start(CLIENTS, &self.tenants, &self.live, random)
    }

    /// Lets the clients finish, and checks everything; a process must be serving.
    pub async fn finish(&mut self, load: Load) {
        load.finish(&mut self.told).await;
        self.check().await;
    }

    /// I1 to I7.
    pub async fn check(&self) {
        self.checker.everything(&self.told.receipts()).await;
        self.told.is_all_there_is(&self.checker, &self.before).await;
    }

    /// A head note of every tenant, which each later check is held to.
    pub async fn note_heads(&mut self) {
        for tenant in &self.tenants {
            let tenant = tenant.world.tenant.to_string();
            let note = self
                .installation
                .good(&["audit", "head-note", "--tenant", &tenant])
                .await;
            self.checker.remember(note);
        }
    }
}
