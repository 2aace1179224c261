//! Every refusal of every context: its code, what the caller can do, and what the caller reads. Codes are part of the
//! API, so a change of this snapshot is a change of the API.
#![allow(clippy::unwrap_used)]

use uuid::Uuid;

use super::{Rejection, RejectionKind};
use crate::administration::AdministrationError;
use crate::agent::AgentError;
use crate::completion::CompletionError;
use crate::ids::{ApiKeyId, KeyId, SubjectLinkId, UserId};
use crate::issuer::IssuerError;
use crate::keyring::KeyringError;
use crate::kri::aggregates::indicator::KriError;
use crate::kri::aggregates::run::KriRunError;
use crate::kri::aggregates::source::KriSourceError;
use crate::money::Currency;
use crate::organisation::OrganisationError;
use crate::origin::OriginError;
use crate::policy::PolicyError;
use crate::secret::SecretError;
use crate::subscriber::SubscriberError;
use crate::tenant::TenantError;
use crate::user::UserError;
use crate::vault_key::VaultKeyError;

fn boxed<R: Rejection>(refusals: impl IntoIterator<Item = R>) -> Vec<Box<dyn Rejection>> {
    refusals
        .into_iter()
        .map(|refusal| Box::new(refusal) as Box<dyn Rejection>)
        .collect()
}

fn organisation() -> Vec<Box<dyn Rejection>> {
    use OrganisationError as E;
    boxed([
        E::NotFound,
        E::AlreadyExists,
        E::PlatformTenant,
        E::Unchanged,
        E::AlreadySuspended,
        E::NotSuspended,
    ])
}

fn tenant() -> Vec<Box<dyn Rejection>> {
    use TenantError as E;
    let left = "0.1".parse().unwrap();
    boxed([
        E::NotFound,
        E::AlreadyExists,
        E::Unchanged,
        E::AlreadySuspended,
        E::NotSuspended,
        E::Closed,
        E::NotClosed,
        E::SuspendFirst,
        E::HomeTenant,
        E::Retention,
        E::Retained("2036-11-20T12:00:00.000000Z".parse().unwrap()),
        E::AlreadyErased,
        E::CarriesItself,
        E::NotCarried,
        E::OverCarried { left },
        E::TooManyCarriers,
        E::NegativeExposure,
    ])
}

fn user() -> Vec<Box<dyn Rejection>> {
    use UserError as E;
    boxed([
        E::NotFound,
        E::AlreadyExists,
        E::AlreadySuspended,
        E::NotSuspended,
        E::Suspended,
        E::AlreadyGranted,
        E::NotGranted,
        E::TooManyGrants,
        E::TokenNotFound(ApiKeyId(Uuid::from_u128(1))),
        E::TooManyTokens,
        E::SessionNotFound(ApiKeyId(Uuid::from_u128(1))),
        E::NoSessions,
        E::TooManySessions,
        E::SignsInElsewhere,
        E::IsAService,
        E::AlreadyLinked,
        E::LinkNotFound(SubjectLinkId(Uuid::from_u128(1))),
        E::TooManyLinks,
        E::ClockAtItsEnd,
    ])
}

fn origin() -> Vec<Box<dyn Rejection>> {
    use OriginError as E;
    boxed([E::TooLong, E::NotOpen, E::ClockAtItsEnd])
}

fn administration() -> Vec<Box<dyn Rejection>> {
    use AdministrationError as E;
    let user = UserId(Uuid::from_u128(1));
    boxed([
        E::AlreadyThere(user),
        E::NotThere(user),
        E::TooMany,
        E::LastAdministrator,
        E::AlreadyClosed,
        E::NotClosed,
    ])
}

fn issuer() -> Vec<Box<dyn Rejection>> {
    use IssuerError as E;
    boxed([
        E::NotFound,
        E::AlreadyExists,
        E::OfATenant,
        E::ClaimAtThePlatform,
        E::Unchanged,
        E::AlreadySuspended,
        E::NotSuspended,
    ])
}

fn keyring() -> Vec<Box<dyn Rejection>> {
    use KeyringError as E;
    boxed([
        E::NotFound,
        E::AlreadyIntroduced,
        E::KeyIdTaken(KeyId([1; 8])),
        E::TooManyKeys,
    ])
}

fn agent() -> Vec<Box<dyn Rejection>> {
    use AgentError as E;
    let key = ApiKeyId(Uuid::from_u128(1));
    boxed([
        E::NotFound,
        E::AlreadyExists,
        E::Unchanged,
        E::AlreadySuspended,
        E::NotSuspended,
        E::NoModels,
        E::ModelTwice,
        E::ToolScopeTwice,
        E::CardUnwritable,
        E::KeyNotFound(key),
        E::KeyIdTaken(key),
        E::TooManyKeys,
        E::KeyEnding(key),
        E::GraceTooLong,
        E::ClockAtItsEnd,
        E::ExpiresInThePast,
    ])
}

fn policy() -> Vec<Box<dyn Rejection>> {
    use PolicyError as E;
    let version = 7;
    boxed([
        E::NotFound,
        E::NoSuchVersion { version, newest: 3 },
        E::Unchanged { version },
        E::AlreadyActive { version },
        E::NothingActive,
        E::NothingBefore,
        E::NeverActive { version },
        E::TooManyVersions,
    ])
}

fn completion() -> Vec<Box<dyn Rejection>> {
    use CompletionError as E;
    boxed([
        E::NotFound,
        E::AlreadyDecided,
        E::AlreadyEnded,
        E::OtherCurrency {
            authorized: Currency::EUR,
        },
    ])
}

fn kri() -> Vec<Box<dyn Rejection>> {
    use {KriError as Indicator, KriRunError as Run, KriSourceError as Source};
    let until = "2026-11-20T12:05:00.000000Z".parse().unwrap();
    let indicator = [
        Indicator::NotFound,
        Indicator::AlreadyExists,
        Indicator::Unchanged,
        Indicator::Retired,
    ];
    let source = [
        Source::NotFound,
        Source::AlreadyExists,
        Source::Unchanged,
        Source::AlreadyDisabled,
        Source::NotDisabled,
        Source::TextNotAttached,
    ];
    let run = [
        Run::NotFound,
        Run::AlreadyExists,
        Run::AlreadyEnded,
        Run::NotStarted,
        Run::LeaseHeld { until },
        Run::LeaseOutOfRange { lease_ms: 0 },
        Run::Superseded {
            attempt: 1,
            newest: 2,
        },
        Run::MeasuredInTheFuture,
    ];
    boxed(indicator)
        .into_iter()
        .chain(boxed(source))
        .chain(boxed(run))
        .collect()
}

fn secret() -> Vec<Box<dyn Rejection>> {
    use SecretError as E;
    boxed([
        E::NotFound,
        E::AlreadyExists,
        E::Retired,
        E::NotTheNext { newest: 2 },
        E::NotTheNewest { newest: 2 },
        E::TooManyVersions,
    ])
}

fn subscriber() -> Vec<Box<dyn Rejection>> {
    use SubscriberError as E;
    let credential = ApiKeyId(Uuid::from_u128(1));
    boxed([E::NotFound(credential), E::TooLong, E::TooMany, E::ClockAtItsEnd])
}

fn all() -> Vec<Box<dyn Rejection>> {
    let contexts = [
        organisation(),
        tenant(),
        user(),
        origin(),
        administration(),
        issuer(),
        keyring(),
        agent(),
        policy(),
        completion(),
        kri(),
        secret(),
        boxed([VaultKeyError::NotLater { newest: 2 }]),
        subscriber(),
    ];
    contexts.into_iter().flatten().collect()
}

#[test]
fn refusals_are_these() {
    let line = |refusal: Box<dyn Rejection>| {
        let kind = match refusal.kind() {
            RejectionKind::Invalid { field } => format!("invalid {field}"),
            RejectionKind::NotFound => "not found".to_owned(),
            RejectionKind::Conflict => "conflict".to_owned(),
        };
        format!("{} [{kind}] {refusal}", refusal.code())
    };
    insta::assert_snapshot!(all().into_iter().map(line).collect::<Vec<_>>().join("\n"));
}

#[test]
fn no_two_refusals_share_a_code() {
    let mut codes: Vec<_> = all().iter().map(|refusal| refusal.code()).collect();
    let listed = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), listed);
}
