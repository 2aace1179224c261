//! Sessions that an issuer vouched for: bound as its token was, and over when it is not heeded any more.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use counterfoil_events::ids::TenantId;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::installation::Installation;
use crate::support::issuer::{ALLOWED, TestIssuer, ask_as, enrol, grant, until};
use crate::support::reply::Reply;
use crate::support::served::Served;

/// A platform administrator who also administers an organisation, and signs in at that organisation's issuer.
struct Scene {
    _installation: Installation,
    server: Served,
    issuer: TestIssuer,
    issuer_id: String,
    place: String,
    home: TenantId,
    second: String,
    anna: String,
    link: String,
}

impl Scene {
    async fn new() -> Self {
        let installation = Installation::with(ALLOWED).await;
        let server = installation.serve().await;
        let issuer = TestIssuer::start().await;
        let body = json!({"kind": "company", "name": "Example"});
        let made = server.post("/v1/organisations", &body).await.good();
        let home = made["home_tenant"].as_str().unwrap().parse().unwrap();
        let place = format!("/v1/organisations/{}", made["id"].as_str().unwrap());
        let issuer_id = issuer.configure(&server, &place, Some("tenant")).await;
        let made = server
            .post(&format!("{place}/tenants"), &json!({"name": "Second"}))
            .await
            .good();
        let (anna, link) = enrol(&server, &issuer_id, "anna").await;
        grant(&server, &place, &anna, "organisation_admin").await;
        grant(&server, "/v1/platform", &anna, "platform_admin").await;
        let scene = Self {
            _installation: installation,
            server,
            issuer,
            issuer_id,
            place,
            home,
            second: made["id"].as_str().unwrap().to_owned(),
            anna,
            link,
        };
        until(200, "anna is known", async || {
            let path = scene.members(&scene.home);
            ask_as(
                &scene.server,
                &scene.issuer.token("anna"),
                Method::GET,
                &path,
                &Value::Null,
            )
            .await
        })
        .await;
        scene
    }

    fn members(&self, tenant: &dyn std::fmt::Display) -> String {
        format!("/v1/tenants/{tenant}/members")
    }

    async fn browser(&self, token: &str) -> Browser {
        let browser = Browser::sign_in(&self.server, token).await;
        until(200, "the session is known", async || {
            browser.get(&self.server, "/v1/sessions/current").await
        })
        .await;
        browser
    }

    async fn sessions_of(&self, browser: &Browser) -> Vec<String> {
        let listed = browser.get(&self.server, "/v1/sessions").await.good();
        let items = listed["items"].as_array().unwrap().iter();
        items
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_reaches_as_far_as_the_token_that_opened_it() {
    let scene = Scene::new().await;
    let open = scene.browser(&scene.issuer.token("anna")).await;
    let bound_token = scene.issuer.token_with("anna", &json!({"tenant": scene.second}));
    let bound = scene.browser(&bound_token).await;
    let get = async |browser: &Browser, path: &str| browser.get(&scene.server, path).await.status;

    // The organisation's, as far as her roles there go; what she holds at the platform does not count.
    assert_eq!(get(&open, &scene.members(&scene.home)).await, 200);
    assert_eq!(get(&open, &scene.members(&scene.second)).await, 200);
    assert_eq!(get(&open, "/v1/platform/members").await, 403);
    let made = open
        .post(&scene.server, "/v1/users", &json!({"kind": "person"}))
        .await;
    assert_eq!(made.problem(), "forbidden");
    // And only the one tenant that the token named.
    assert_eq!(get(&bound, &scene.members(&scene.second)).await, 200);
    assert_eq!(get(&bound, &scene.members(&scene.home)).await, 404);
    assert_eq!(get(&bound, &format!("{}/members", scene.place)).await, 404);

    // Each sees what is bound as it is, and ends nothing else.
    assert_eq!(
        scene.sessions_of(&open).await,
        std::slice::from_ref(&open.session)
    );
    assert_eq!(
        scene.sessions_of(&bound).await,
        std::slice::from_ref(&bound.session)
    );
    let other = format!("/v1/sessions/{}", open.session);
    let refused = Reply::of(bound.request(&scene.server, Method::DELETE, &other)).await;
    let missing = format!("/v1/sessions/{}", uuid::Uuid::now_v7());
    let missing = Reply::of(bound.request(&scene.server, Method::DELETE, &missing)).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (missing.status, &missing.json()["code"])
    );
    assert_eq!(get(&open, "/v1/sessions/current").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_the_issuer_that_vouched_for_it() {
    let scene = Scene::new().await;
    let browser = scene.browser(&scene.issuer.token("anna")).await;
    let path = format!("{}/issuers/{}", scene.place, scene.issuer_id);
    let why = json!({"reason": "compromised"});
    scene.server.post(&format!("{path}/suspend"), &why).await.good();
    let home = scene.members(&scene.home);
    until(401, "nobody is vouched for", async || {
        browser.get(&scene.server, &home).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_unlinked_has_no_sessions_there_and_nothing_of_ours_outlives_it() {
    let scene = Scene::new().await;
    let browser = scene.browser(&scene.issuer.token("anna")).await;
    // A token of ours would outlive her account there: she gets none, by whatever she asks.
    let own = format!("/v1/users/{}/tokens", scene.anna);
    let refused = scene.server.post(&own, &Value::Null).await;
    assert_eq!(refused.json()["code"], "user_signs_in_elsewhere");
    let path = format!("/v1/users/{}/subjects/{}/unlink", scene.anna, scene.link);
    scene.server.post(&path, &json!({"reason": "left"})).await.good();
    // At once in the process that answered.
    let home = scene.members(&scene.home);
    assert_eq!(browser.get(&scene.server, &home).await.status, 401);
}
