//! `[roles]`: what this process does. All of it unless said otherwise; on several machines each does a part.

use clap::ValueEnum;
use serde::Deserialize;

use super::check::Checks;

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The HTTP API and the gateway.
    Api,
    /// Publishes committed events on the backbone.
    Relay,
    /// Projections and whatever else follows the log.
    Consumers,
    /// Runs KRI sources, and ends completions that nobody ended.
    Runner,
}

/// What this process does.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolesConfig {
    /// Its roles.
    pub active: Vec<Role>,
}

impl Default for RolesConfig {
    fn default() -> Self {
        Self {
            active: Role::value_variants().to_vec(),
        }
    }
}

impl RolesConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.require(
            "roles.active",
            !self.active.is_empty(),
            "must name at least one role",
        );
    }

    /// Whether this process has the role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.active.contains(&role)
    }
}
