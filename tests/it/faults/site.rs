//! An installation with a small world in it, processes on it, and clients: what most faults are done to.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use counterfoil::stack::Endpoints;
use counterfoil_events::ids::TenantId;

use super::load::{Live, Load, Told};
use crate::support::api::{Api, Tenant, make_world};
use crate::support::installation::Installation;
use crate::support::invariants::Checker;
use crate::support::random::Random;
use crate::support::serving::Serving;

const CLIENTS: usize = 6;

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
        // What died with its process is taken up again soon.
        let settings = [("kri.lease_s", "10"), ("kri.fetch.total_timeout_ms", "5000")];
        let installation = Installation::on(endpoints, &settings).await;
        let serving = Serving::start(&installation).await;
        let tenants = make_world(&Api::new(), &serving.url, 2).await;
        serving.stop().await;
        let checker = Checker::of(&installation).await;
        let mut before = BTreeMap::new();
        for tenant in &tenants {
            let head = checker.reader().head(tenant.id).await.unwrap().unwrap();
            before.insert(tenant.id, head.head.position.0);
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
    pub async fn serve(&self) -> Serving {
        let serving = Serving::start(&self.installation).await;
        serving
            .until_ready("it is ready", |status, _| status == 200)
            .await;
        self.live.add(&serving.url);
        serving
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
            let tenant = tenant.id.to_string();
            let note = self
                .installation
                .good(&["audit", "head-note", "--tenant", &tenant])
                .await;
            self.checker.remember(note);
        }
    }
}
