//! Who may do what, over HTTP and the real log: users with roles in two tenants, the platform's crossing into one, and
//! what is taken away on one process while another serves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::installation::Installation;
use crate::support::person::{Person, until};
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::{World, agent_card};

/// What a caller can tell two answers apart by, but for the request's id.
fn seen(reply: &Reply) -> (u16, Vec<(String, String)>, Value) {
    let mut body = reply.json();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("instance");
        fields.remove("request_id");
    }
    let mut headers: Vec<_> = reply
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (reply.status, headers, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_one_tenant_is_refused_the_other_as_if_it_were_not_there() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let (ours, theirs) = (
        World::new(&server, &["demo"]).await,
        World::new(&server, &["demo"]).await,
    );
    let anna = Person::with(&server, &ours.path(""), "tenant_admin").await;
    let made = anna
        .post(&server, &ours.path("/agents"), &agent_card("mine", &["demo"]))
        .await;
    made.good();
    let missing = World {
        tenant: counterfoil_events::ids::TenantId::generate(),
        ..theirs.clone()
    };
    for (method, rest) in [
        (Method::GET, format!("/agents/{}", theirs.agent)),
        (Method::GET, "/events".to_owned()),
        (Method::GET, "/members".to_owned()),
        (Method::GET, String::new()),
        (Method::POST, "/agents".to_owned()),
        (Method::POST, format!("/agents/{}/suspend", theirs.agent)),
        (Method::PUT, format!("/members/{}/roles/tenant_admin", anna.id)),
    ] {
        let ask = |world: &World| {
            let request = anna.request(&server, method.clone(), &world.path(&rest));
            Reply::of(request.json(&agent_card("theirs", &["demo"])))
        };
        let (foreign, nowhere) = (ask(&theirs).await, ask(&missing).await);
        assert_eq!(foreign.problem(), "not-found", "{method} {rest}");
        assert_eq!(seen(&foreign), seen(&nowhere), "{method} {rest}");
    }
    // Another's agent under the own path is missing there, as any other is.
    let foreign = anna
        .get(&server, &ours.path(&format!("/agents/{}", theirs.agent)))
        .await;
    assert_eq!(foreign.problem(), "not-found");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_allows_what_its_table_says_and_grants_nothing_above_itself() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo"]).await;
    let admin = Person::with(&server, &world.path(""), "tenant_admin").await;
    let newcomer = Person::enrolled(&server).await;
    assert_eq!(
        newcomer.get(&server, &world.path("/members")).await.problem(),
        "not-found"
    );
    let put = |role: &str| {
        let path = world.path(&format!("/members/{}/roles/{role}", newcomer.id));
        Reply::of(admin.request(&server, Method::PUT, &path))
    };
    put("developer").await.good();
    let members = admin.get(&server, &world.path("/members")).await.good();
    let found = members["items"].as_array().unwrap();
    let has = |id: &str, role: &str| found.iter().any(|m| m["id"] == id && m["roles"] == json!([role]));
    assert!(
        has(&newcomer.id, "developer") && has(&admin.id, "tenant_admin"),
        "{members}"
    );
    let card = agent_card("new", &["demo"]);
    newcomer.post(&server, &world.path("/agents"), &card).await.good();
    let policy = world.path("/policies/tenant/versions/1/activate");
    let refused = newcomer.post(&server, &policy, &Value::Null).await;
    assert_eq!(
        (refused.problem().as_str(), refused.json()["permission"].as_str()),
        ("forbidden", Some("policies.activate"))
    );
    // The organisation's policy stands under its home tenant, but is not the tenant's.
    let policy = world.path("/policies/organisation/versions/1/activate");
    assert_eq!(
        admin.post(&server, &policy, &Value::Null).await.problem(),
        "forbidden"
    );
    for role in ["platform_admin", "organisation_admin"] {
        assert_eq!(put(role).await.status, 422, "{role} is not held at a tenant");
    }
    assert_eq!(put("emperor").await.status, 400);
    let above = format!("/v1/platform/members/{}/roles/platform_admin", admin.id);
    let above = Reply::of(admin.request(&server, Method::PUT, &above)).await;
    assert_eq!(above.problem(), "forbidden");
    assert_eq!(
        admin
            .post(&server, "/v1/users", &json!({"kind": "person"}))
            .await
            .problem(),
        "forbidden"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platform_enters_a_tenant_only_with_a_reason_and_on_record() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo"]).await;
    let auditor = Person::with(&server, "/v1/platform", "platform_auditor").await;
    let entered = || async {
        let log = server
            .get("/v1/tenants/00000000-0000-0000-0000-000000000000/events?types=TenantEntered")
            .await
            .good();
        log["items"].as_array().unwrap().clone()
    };
    // Its entry in the platform's register needs no reason; the read model may be a moment behind.
    let place = world.path("");
    until(200, "the tenant's entry", async || {
        auditor.get(&server, &place).await
    })
    .await;
    let agents = world.path("/agents");
    let refused = auditor.get(&server, &agents).await;
    assert_eq!(
        (refused.problem().as_str(), refused.json()["code"].as_str()),
        ("forbidden", Some("reason_required"))
    );
    let ask = |reason: &'static str, path: &str| {
        let request = auditor.request(&server, Method::GET, path);
        Reply::of(request.header("counterfoil-reason", reason))
    };
    assert_eq!(ask("Because I can", &agents).await.status, 400);
    assert!(entered().await.is_empty());
    ask("ticket-4711", &agents).await.good();
    let entered = entered().await;
    assert_eq!(entered.len(), 1);
    let text = entered[0].to_string();
    for part in [
        "ticket-4711",
        "agents.read",
        &world.tenant.to_string(),
        &auditor.id,
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A reason opens nothing that the role does not have.
    let request = auditor.request(&server, Method::POST, &agents);
    let request = request.header("counterfoil-reason", "ticket-4711");
    let written = Reply::of(request.json(&agent_card("x", &["demo"]))).await;
    assert_eq!(written.problem(), "forbidden");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_takes_away_another_refuses() {
    let installation = Installation::new().await;
    let (here, there) = (installation.serve().await, installation.serve().await);
    let world = World::new(&here, &["demo"]).await;
    let place = world.path("");
    let [member, suspended, bearer] = [
        Person::with(&here, &place, "developer").await,
        Person::with(&here, &place, "developer").await,
        Person::with(&here, &place, "developer").await,
    ];
    let agents = world.path("/agents");
    for person in [&member, &suspended, &bearer] {
        until(200, "all may at first", async || {
            person.get(&there, &agents).await
        })
        .await;
    }
    let path = format!("{place}/members/{}/roles/developer", member.id);
    Reply::of(here.request(Method::DELETE, &path)).await.good();
    let why = json!({"reason": "left"});
    here.post(&format!("/v1/users/{}/suspend", suspended.id), &why)
        .await
        .good();
    let path = format!("/v1/users/{}/tokens/{}/revoke", bearer.id, bearer.token_id);
    here.post(&path, &why).await.good();
    until(404, "a role", async || member.get(&there, &agents).await).await;
    until(401, "a user", async || suspended.get(&there, &agents).await).await;
    until(401, "a token", async || bearer.get(&there, &agents).await).await;
    // In the process that recorded it, it holds as well.
    until(401, "a user, here", async || suspended.get(&here, &agents).await).await;
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_of_an_agent_and_of_its_key_holds_on_another_process() {
    let installation = Installation::new().await;
    let (here, there) = (installation.serve().await, installation.serve().await);
    let world = World::new(&here, &["demo"]).await;
    let agent = world.path(&format!("/agents/{}", world.agent));
    // The next key works beside the first, which then goes.
    let next = here.post(&format!("{agent}/keys"), &json!({})).await.good();
    let text = |name: &str| next[name].as_str().unwrap().to_owned();
    let (next_key, next_id) = (text("api_key"), text("key_id"));
    let ask = async |key: &str| {
        let request = reqwest::Client::new().get(format!("{}/v1/models", there.url));
        Reply::of(request.bearer_auth(key)).await
    };
    until(200, "the first key", async || ask(&world.key).await).await;
    until(200, "the next key", async || ask(&next_key).await).await;
    let why = json!({"reason": "review"});
    here.post(&format!("{agent}/keys/{next_id}/revoke"), &why)
        .await
        .good();
    until(401, "a revoked key", async || ask(&next_key).await).await;
    assert_eq!(ask(&world.key).await.status, 200, "the other key goes on");
    here.post(&format!("{agent}/suspend"), &why).await.good();
    until(403, "a suspended agent", async || ask(&world.key).await).await;
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_works_beside_the_next_until_its_time_on_every_process_with_nothing_more_said() {
    let installation = Installation::new().await;
    let (here, there) = (installation.serve().await, installation.serve().await);
    let world = World::new(&here, &["demo"]).await;
    let agent = world.path(&format!("/agents/{}", world.agent));
    let issue = async || {
        let issued = here.post(&format!("{agent}/keys"), &json!({})).await.good();
        let text = |name: &str| issued[name].as_str().unwrap().to_owned();
        (text("key_id"), text("api_key"))
    };
    let rotate = async |key: &str, grace_s: u32| {
        let path = format!("{agent}/keys/{key}/rotate");
        here.post(&path, &json!({ "grace_s": grace_s })).await
    };
    let ask = async |server: &Served, key: &str| {
        let request = reqwest::Client::new().get(format!("{}/v1/models", server.url));
        Reply::of(request.bearer_auth(key)).await
    };
    // A day of grace: both work, and the old one can still be killed at once.
    let (first_id, first) = issue().await;
    let rotated = rotate(&first_id, 86_400).await.good();
    let next = rotated["api_key"].as_str().unwrap();
    for server in [&here, &there] {
        until(200, "the next key", async || ask(server, next).await).await;
        assert_eq!(ask(server, &first).await.status, 200, "the old one goes on");
    }
    assert_eq!(rotate(&first_id, 60).await.json()["code"], "agent_key_ending");
    let why = json!({"reason": "leaked"});
    here.post(&format!("{agent}/keys/{first_id}/revoke"), &why)
        .await
        .good();
    for server in [&here, &there] {
        until(401, "killed within its grace", async || ask(server, &first).await).await;
    }
    // No grace, and one second of it: each ends by itself, with one event for each rotation.
    for grace_s in [0, 1] {
        let (id, key) = issue().await;
        rotate(&id, grace_s).await.good();
        for server in [&here, &there] {
            until(401, "its time is over", async || ask(server, &key).await).await;
        }
    }
    assert_eq!(rotate(&first_id, 604_801).await.status, 404, "it is gone");
    let log = here
        .get(&world.path("/events?types=AgentKeyRotated,AgentKeyRevoked"))
        .await
        .good();
    assert_eq!(log["items"].as_array().unwrap().len(), 4, "{log}");
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisations_administrator_makes_tenants_of_its_own_and_of_no_other() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let organisation = async || {
        let body = json!({"kind": "company", "name": "Example"});
        let made = server.post("/v1/organisations", &body).await.good();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("id"), text("home_tenant"))
    };
    let ((ours, home), (theirs, _)) = (organisation().await, organisation().await);
    let place = |organisation: &str| format!("/v1/organisations/{organisation}");
    let tenants = |organisation: &str| format!("{}/tenants", place(organisation));
    let admin = Person::with(&server, &place(&ours), "organisation_admin").await;
    let below = Person::with(&server, &format!("/v1/tenants/{home}"), "tenant_admin").await;
    let beside = Person::with(&server, &place(&ours), "risk_officer").await;
    let body = json!({"name": "Claims"});
    let made = admin.post(&server, &tenants(&ours), &body).await.good();
    let tenant = made["id"].as_str().unwrap();
    until(200, "it is the organisation's", async || {
        admin.get(&server, &format!("/v1/tenants/{tenant}/members")).await
    })
    .await;
    let missing = uuid::Uuid::now_v7().to_string();
    let (foreign, nobodys) = (
        admin.post(&server, &tenants(&theirs), &body).await,
        admin.post(&server, &tenants(&missing), &body).await,
    );
    assert_eq!(foreign.problem(), "not-found");
    assert_eq!(seen(&foreign), seen(&nobodys));
    assert_eq!(
        below.post(&server, &tenants(&ours), &body).await.problem(),
        "not-found"
    );
    assert_eq!(
        beside.post(&server, &tenants(&ours), &body).await.problem(),
        "forbidden"
    );
    // The register of all tenants stays the platform's.
    let anywhere = json!({"organisation": ours, "name": "Claims"});
    assert_eq!(
        admin.post(&server, "/v1/tenants", &anywhere).await.problem(),
        "forbidden"
    );
    server.stop().await;
}
