//! The rules of an issuer, as given, when, then.
#![allow(clippy::unwrap_used)]

use cqrs_es::test::TestFramework;

use super::*;
use crate::ids::{OrganisationId, TenantId};
use crate::text::Code;

const WHY: Code = Code::literal("left");

fn issuer() -> TestFramework<Issuer> {
    TestFramework::with(())
}

fn place() -> Scope {
    Scope::Organisation(
        "01933b5e-0000-7000-8000-000000000001"
            .parse::<OrganisationId>()
            .unwrap(),
    )
}

fn url() -> IssuerUrl {
    "https://login.acme.example/realms/acme".parse().unwrap()
}

fn audience() -> Audience {
    "counterfoil".parse().unwrap()
}

fn configure(place: Scope, claim: Option<&str>) -> IssuerCommand {
    IssuerCommand::Configure {
        place,
        url: url(),
        audience: audience(),
        tenant_claim: claim.map(|claim| claim.parse().unwrap()),
    }
}

fn configured() -> IssuerEvent {
    IssuerEvent::IssuerConfigured {
        place: place(),
        url: url(),
        audience: audience(),
        tenant_claim: None,
    }
}

#[test]
fn an_issuer_is_configured_once_at_the_platform_or_an_organisation() {
    issuer()
        .given_no_previous_events()
        .when(configure(place(), None))
        .then_expect_events(vec![configured()]);
    issuer()
        .given(vec![configured()])
        .when(configure(Scope::Platform, None))
        .then_expect_error(IssuerError::AlreadyExists);
    issuer()
        .given_no_previous_events()
        .when(configure(Scope::Tenant(TenantId::generate()), None))
        .then_expect_error(IssuerError::OfATenant);
    issuer()
        .given_no_previous_events()
        .when(configure(Scope::Platform, Some("tenant")))
        .then_expect_error(IssuerError::ClaimAtThePlatform);
}

#[test]
fn its_claim_changes_and_its_place_does_not() {
    let tenant_claim = Some("tenant".parse::<ClaimName>().unwrap());
    let change = |tenant_claim| IssuerCommand::Change { tenant_claim };
    issuer()
        .given(vec![configured()])
        .when(change(tenant_claim.clone()))
        .then_expect_events(vec![IssuerEvent::IssuerChanged { tenant_claim }]);
    issuer()
        .given(vec![configured()])
        .when(change(None))
        .then_expect_error(IssuerError::Unchanged);
}

#[test]
fn it_is_suspended_and_resumed() {
    let suspended = IssuerEvent::IssuerSuspended { reason: WHY };
    issuer()
        .given(vec![configured()])
        .when(IssuerCommand::Suspend { reason: WHY })
        .then_expect_events(vec![suspended.clone()]);
    issuer()
        .given(vec![configured(), suspended.clone()])
        .when(IssuerCommand::Suspend { reason: WHY })
        .then_expect_error(IssuerError::AlreadySuspended);
    issuer()
        .given(vec![configured(), suspended])
        .when(IssuerCommand::Resume)
        .then_expect_events(vec![IssuerEvent::IssuerResumed {}]);
    issuer()
        .given(vec![configured()])
        .when(IssuerCommand::Resume)
        .then_expect_error(IssuerError::NotSuspended);
    issuer()
        .given_no_previous_events()
        .when(IssuerCommand::Resume)
        .then_expect_error(IssuerError::NotFound);
}

#[test]
fn an_issuers_id_is_that_of_its_url_and_audience() {
    let id = IssuerId::of(&url(), &audience());
    assert_eq!(id, IssuerId::of(&url(), &audience()));
    assert_ne!(id, IssuerId::of(&url(), &"other".parse().unwrap()));
    assert_eq!(id.to_string().parse::<IssuerId>().unwrap(), id);
    // Where one text ends and the other begins counts.
    let split = |url: &str, audience: &str| IssuerId::of(&url.parse().unwrap(), &audience.parse().unwrap());
    assert_ne!(split("https://a.b", "c"), split("https://a", ".bc"));
}

#[test]
fn an_issuers_url_is_plain() {
    for good in [
        "https://a",
        "http://127.0.0.1:8091",
        "https://[::1]/x",
        "https://a.example/t/v2.0/",
    ] {
        assert_eq!(good.parse::<IssuerUrl>().unwrap().as_str(), good);
    }
    let long = format!("https://{}", "a".repeat(501));
    for bad in [
        "",
        "https://",
        "a.example",
        "ftp://a.example",
        "https://a.example?x=1",
        "https://a.example#x",
        "https://ada@a.example",
        "https://a.example/ x",
        "HTTPS://a.example",
        &long,
    ] {
        assert!(bad.parse::<IssuerUrl>().is_err(), "{bad}");
    }
}

#[test]
fn a_claim_that_tokens_are_judged_by_binds_nothing_and_is_refused() {
    for claim in ["sub", "aud", "amr", "mfa_verified"] {
        assert!(claim.parse::<ClaimName>().is_err(), "{claim}");
    }
    assert!("counterfoil_tenant".parse::<ClaimName>().is_ok());
}
