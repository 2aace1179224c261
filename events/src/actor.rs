//! Who caused an event. Ids only: names and addresses are personal data and never stand in an envelope.

use serde::{Deserialize, Serialize};

/// What kind of actor it was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person.
    User,
    /// A program of an organisation.
    Service,
    /// A supervised AI agent, by its key.
    Agent,
    /// Counterfoil itself: a runner, the sweeper, the start-up.
    System,
}

impl ActorKind {
    /// As it stands in the envelope.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Agent => "agent",
            Self::System => "system",
        }
    }
}

/// Who caused an event.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// What kind.
    pub kind: ActorKind,
    /// Its id: opaque, at most 128 characters.
    pub id: String,
}

impl Actor {
    /// The holder of the bootstrap token, until there are users.
    #[must_use]
    pub fn bootstrap() -> Self {
        Self {
            kind: ActorKind::User,
            id: "bootstrap".to_owned(),
        }
    }

    /// A person, by its opaque id.
    #[must_use]
    pub fn user(id: impl ToString) -> Self {
        Self {
            kind: ActorKind::User,
            id: id.to_string(),
        }
    }

    /// A program of an organisation or the platform, by its opaque id.
    #[must_use]
    pub fn service(id: impl ToString) -> Self {
        Self {
            kind: ActorKind::Service,
            id: id.to_string(),
        }
    }

    /// A part of Counterfoil, such as `kri-runner` or `sweeper`.
    #[must_use]
    pub fn system(part: &str) -> Self {
        Self {
            kind: ActorKind::System,
            id: part.to_owned(),
        }
    }

    /// An agent, by its id.
    #[must_use]
    pub fn agent(id: impl ToString) -> Self {
        Self {
            kind: ActorKind::Agent,
            id: id.to_string(),
        }
    }
}
