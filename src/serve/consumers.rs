//! The role `consumers`: read models follow the log.

use counterfoil_consumers::projector::{Projector, ProjectorOptions, ProjectorParts, ProjectorStatus};

use super::basis::Basis;

/// The parts of the role `consumers`.
pub(super) struct ConsumersRole {
    projector: Projector,
}

impl ConsumersRole {
    pub(super) fn start(basis: &Basis) -> Self {
        let news = basis.news();
        let parts = ProjectorParts {
            database: basis.database.clone(),
            heads: news.heads,
            notices: news.notices,
            hints: news.hints,
        };
        let all = counterfoil_projections::all();
        Self {
            projector: Projector::start(all, parts, ProjectorOptions::default()),
        }
    }

    /// How the read models are.
    pub(super) fn status(&self) -> ProjectorStatus {
        self.projector.status().clone()
    }

    pub(super) async fn stop(self) {
        self.projector.stop().await;
    }
}
