//! What an event of the log changes about who may act; and which events have no say in that.

use std::str::FromStr;

use cqrs_es::Aggregate;

use crate::administration::{Administration, AdministrationEvent};
use crate::agent::{Agent, AgentEvent};
use crate::command::{LoadError, decode_stored};
use crate::completion::Completion;
use crate::ids::{AgentId, IssuerId, OrganisationId, Position, TenantId, UserId};
use crate::issuer::{Issuer, IssuerEvent};
use crate::keyring::SigningKeys;
use crate::kri::aggregates::{indicator::Kri, run::KriRun, source::KriSource};
use crate::ledger::StoredEvent;
use crate::organisation::{Organisation, OrganisationEvent};
use crate::origin::{Origin, OriginEvent};
use crate::policy::{Policy, PolicyEvent, PolicyLayer};
use crate::secret::Secret;
use crate::subscriber::{SubscriberEvent, Subscribers};
use crate::tenant::{Tenant, TenantEvent};
use crate::user::{User, UserEvent};
use crate::vault_key::VaultKey;

/// What the state is folded from.
pub(super) const FOLDED: [&str; 9] = [
    Agent::TYPE,
    Policy::TYPE,
    Tenant::TYPE,
    Organisation::TYPE,
    User::TYPE,
    Origin::TYPE,
    Subscribers::TYPE,
    Administration::TYPE,
    Issuer::TYPE,
];
/// What has no say in who may act. Everything else is unknown to this build.
pub(super) const PASSED_OVER: [&str; 7] = [
    Completion::TYPE,
    Kri::TYPE,
    KriSource::TYPE,
    KriRun::TYPE,
    SigningKeys::TYPE,
    Secret::TYPE,
    VaultKey::TYPE,
];

/// An event that cannot be folded: this build is too old, or the event is damaged.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// Not in the registry, or not readable.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A kind of aggregate that this build does not know.
    #[error("unknown aggregate {0}: this build is too old to read the log; upgrade it")]
    UnknownAggregate(String),
    /// An aggregate's id that is none.
    #[error(
        "position {position} of tenant {tenant}, {aggregate_id}: {reason}; run `counterfoil audit verify`"
    )]
    Damaged {
        /// Whose log it is in.
        tenant: TenantId,
        /// Where.
        position: Position,
        /// The id.
        aggregate_id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An event is not there, though the log goes on behind it.
    #[error("{what} is missing in the log of tenant {tenant}; run `counterfoil audit verify`")]
    Missing {
        /// Whose log it is.
        tenant: TenantId,
        /// Which.
        what: String,
    },
}

/// A change to who may act.
#[derive(Debug)]
pub(super) enum Change {
    Agent(AgentId, AgentEvent),
    Policy(PolicyLayer, PolicyEvent),
    Tenant(TenantId, TenantEvent),
    Organisation(OrganisationId, OrganisationEvent),
    User(UserId, UserEvent),
    Origin(OriginEvent),
    Subscriber(SubscriberEvent),
    Administration(AdministrationEvent),
    Issuer(IssuerId, IssuerEvent),
    /// It has no say in that.
    None,
}

/// Reads what an event changes.
///
/// # Errors
/// When this build does not know the event, or it is damaged.
pub(super) fn decode(event: &StoredEvent) -> Result<Change, FoldError> {
    let platform = event.recorded.tenant.is_platform();
    Ok(match event.aggregate.as_str() {
        Agent::TYPE => Change::Agent(id(event)?, decode_stored::<Agent>(event)?),
        Policy::TYPE => Change::Policy(id(event)?, decode_stored::<Policy>(event)?),
        // Only the platform's log says what tenants, organisations, users and issuers there are, and how the switch stands.
        Tenant::TYPE if platform => Change::Tenant(id(event)?, decode_stored::<Tenant>(event)?),
        Organisation::TYPE if platform => {
            Change::Organisation(id(event)?, decode_stored::<Organisation>(event)?)
        }
        User::TYPE if platform => Change::User(id(event)?, decode_stored::<User>(event)?),
        Origin::TYPE if platform => Change::Origin(decode_stored::<Origin>(event)?),
        Administration::TYPE if platform => Change::Administration(decode_stored::<Administration>(event)?),
        Issuer::TYPE if platform => Change::Issuer(id(event)?, decode_stored::<Issuer>(event)?),
        Tenant::TYPE
        | Organisation::TYPE
        | User::TYPE
        | Origin::TYPE
        | Administration::TYPE
        | Issuer::TYPE => Change::None,
        Subscribers::TYPE => Change::Subscriber(decode_stored::<Subscribers>(event)?),
        passed if PASSED_OVER.contains(&passed) => Change::None,
        unknown => return Err(FoldError::UnknownAggregate(unknown.to_owned())),
    })
}

fn id<T: FromStr<Err: std::fmt::Display>>(event: &StoredEvent) -> Result<T, FoldError> {
    event
        .aggregate_id
        .parse()
        .map_err(|error: T::Err| FoldError::Damaged {
            tenant: event.recorded.tenant,
            position: event.recorded.position,
            aggregate_id: event.aggregate_id.clone(),
            reason: error.to_string(),
        })
}
