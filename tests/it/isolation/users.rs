//! The matrix again, as users: a tenant's administrator, an organisation's administrator and a carrier's user drive
//! every route with what is B's. Each gets the refusal that what does not exist gets, and nothing of B.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::matrix::{Kind, ROUTES, Two, comparable, fill};
use crate::support::person::Person;
use crate::support::reply::Reply;
use crate::support::world::World;

/// Everything that a path may name of B, so that each of its names is somebody else's.
struct Foreign<'a> {
    tenant: &'a str,
    organisation: &'a str,
    object: &'a str,
}

/// What a route answers to a user who reaches neither what is named nor the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// It names a place out of reach.
    Hidden,
    /// It is the platform's, which everybody knows to be there.
    Forbidden,
    /// Anyone may ask.
    Open,
    /// The caller's own things: nothing of anybody else can be named.
    Own,
}

fn expected(template: &str) -> Expected {
    let open = ["/live", "/ready", "/metrics", "/openapi.json"];
    if open.contains(&template) || template.starts_with("/v1/event-schemas") {
        return Expected::Open;
    }
    if template.starts_with("/v1/sessions") {
        return Expected::Own;
    }
    let named = ["{tenant}", "{organisation}", "{carrier}"];
    match named.iter().any(|name| template.contains(name)) {
        true => Expected::Hidden,
        false => Expected::Forbidden,
    }
}

struct Routes<'a> {
    two: &'a Two,
    organisation: String,
}

impl<'a> Routes<'a> {
    async fn new(two: &'a Two) -> Self {
        let organisation = organisation_of(two, &two.b).await;
        Self { two, organisation }
    }

    /// The path with B's names in it.
    fn path(template: &str, foreign: &Foreign<'_>, parameter: &str) -> String {
        let path = template
            .replace("{organisation}", foreign.organisation)
            .replace("{carrier}", foreign.organisation)
            .replace("{user}", "00000000-0000-0000-0000-000000000004")
            .replace("{role}", "tenant_admin")
            .replace("{token}", "00000000-0000-0000-0000-000000000005")
            .replace("{session}", "00000000-0000-0000-0000-000000000006");
        fill(&path, foreign.tenant, parameter, foreign.object)
    }

    /// Drives every route with B's names and with names that nobody has.
    async fn drive(&self, person: &Person) {
        let (two, b) = (self.two, self.two.b.tenant.to_string());
        let nobody = uuid::Uuid::now_v7().to_string();
        let mut hidden = 0;
        for (method, template, kind) in ROUTES {
            let (parameter, body) = match kind {
                Kind::Object(parameter, body) => (*parameter, body()),
                _ => ("", Value::Null),
            };
            let object = match parameter {
                "" => String::new(),
                parameter => two.objects(parameter).0,
            };
            let of = |tenant, organisation| Foreign {
                tenant,
                organisation,
                object: &object,
            };
            let ask = async |foreign: Foreign<'_>| {
                let path = Self::path(template, &foreign, parameter);
                let request = person.request(&two.server, method.parse::<Method>().unwrap(), &path);
                Reply::of(match body.is_null() {
                    true => request,
                    false => request.json(&body),
                })
                .await
            };
            let what = format!("{method} {template}");
            let theirs = ask(of(&b, &self.organisation)).await;
            let whole = format!("{:?} {}", theirs.headers, theirs.text);
            assert!(!whole.contains(&two.canary), "{what}: {whole}");
            match expected(template) {
                _ if matches!(kind, Kind::Key) => assert_eq!(theirs.status, 403, "{what}"),
                Expected::Open | Expected::Own => {}
                Expected::Forbidden => assert_eq!(theirs.problem(), "forbidden", "{what}"),
                Expected::Hidden => {
                    let nobodys = ask(of(&nobody, &nobody)).await;
                    assert_eq!(theirs.status, 404, "{what}: {}", theirs.text);
                    let neutral = |reply: &Reply, tenant: &str, organisation: &str| {
                        let (status, headers, text) = comparable(reply, tenant);
                        (status, headers, text.replace(organisation, "OBJECT"))
                    };
                    assert_eq!(
                        neutral(&theirs, &b, &self.organisation),
                        neutral(&nobodys, &nobody, &nobody),
                        "{what}"
                    );
                    hidden += 1;
                }
            }
        }
        assert!(hidden > 50, "{hidden}");
    }
}

async fn organisation_of(two: &Two, world: &World) -> String {
    let events = "/v1/tenants/00000000-0000-0000-0000-000000000000/events?types=TenantCreated&limit=500";
    let log = two.server.get(events).await.good();
    let envelopes = log["items"].as_array().unwrap().iter();
    let created = envelopes
        .map(|event| serde_json::from_str::<Value>(event["envelope"].as_str().unwrap()).unwrap())
        .find(|envelope| envelope["aggregate_id"] == world.tenant.to_string());
    let created = created.expect("its making is on the log");
    created["payload"]["organisation"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_administrator_gets_nothing_of_another_tenant_on_any_route() {
    let two = Two::new().await;
    let routes = Routes::new(&two).await;
    let admin = Person::with(&two.server, &two.a.path(""), "tenant_admin").await;
    // It is somebody: its own are there.
    let own = admin.get(&two.server, &two.a.path("/agents?limit=1")).await;
    own.good();
    routes.drive(&admin).await;
    on_its_own_paths(&two, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisations_administrator_gets_nothing_of_another_organisation_on_any_route() {
    let two = Two::new().await;
    let routes = Routes::new(&two).await;
    let place = format!("/v1/organisations/{}", organisation_of(&two, &two.a).await);
    let admin = Person::with(&two.server, &place, "organisation_admin").await;
    admin
        .get(&two.server, &two.a.path("/agents?limit=1"))
        .await
        .good();
    routes.drive(&admin).await;
    on_its_own_paths(&two, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carriers_user_sees_its_rollups_and_nothing_beneath_on_any_route() {
    let two = Two::new().await;
    let routes = Routes::new(&two).await;
    let body = json!({"kind": "carrier", "name": "Carrier"});
    let made = two.server.post("/v1/organisations", &body).await.good();
    let carrier = made["id"].as_str().unwrap().to_owned();
    let share = two.b.path(&format!("/carriers/{carrier}"));
    let carry = two.server.request(Method::PUT, &share);
    Reply::of(carry.json(&json!({"share": "0.5"}))).await.good();
    let place = format!("/v1/organisations/{carrier}");
    let user = Person::with(&two.server, &place, "organisation_admin").await;
    // Its own rollups are there, with the tenant that it carries, but with nothing that the tenant wrote.
    let path = format!("/v1/carriers/{carrier}/rollups");
    let rollups = loop {
        let reply = user.get(&two.server, &path).await;
        if reply.text.contains(&two.b.tenant.to_string()) {
            break reply;
        }
        assert!(matches!(reply.status, 200 | 404), "{}", reply.text);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let beneath = ["agents", "completions", "policies", "events"];
    let fields = rollups.json();
    let found: BTreeSet<&str> = beneath
        .into_iter()
        .filter(|name| fields.get(name).is_some())
        .collect();
    assert!(found.is_empty(), "{fields}");
    routes.drive(&user).await;
}

/// On the paths of a tenant that one administers, another's object is one that does not exist.
async fn on_its_own_paths(two: &Two, person: &Person) {
    let a = two.a.tenant.to_string();
    let mut compared = 0;
    for (method, template, kind) in ROUTES {
        let Kind::Object(parameter, body) = kind else {
            continue;
        };
        let (foreign, missing) = two.objects(parameter);
        let ask = async |object: &str| {
            let path = fill(template, &a, parameter, object);
            let request = person.request(&two.server, method.parse::<Method>().unwrap(), &path);
            let body = body();
            Reply::of(match body.is_null() {
                true => request,
                false => request.json(&body),
            })
            .await
        };
        let (theirs, nobodys) = (ask(&foreign).await, ask(&missing).await);
        assert!(
            (401..500).contains(&theirs.status),
            "{method} {template}: {}",
            theirs.text
        );
        assert!(
            !theirs.text.contains(&two.canary) || foreign.contains(&two.canary),
            "{method} {template}"
        );
        assert_eq!(
            comparable(&theirs, &foreign),
            comparable(&nobodys, &missing),
            "{method} {template}"
        );
        compared += 1;
    }
    assert!(compared > 15, "{compared}");
}
