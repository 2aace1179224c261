//! The end of a tenant: suspended, exported, closed until a date, erased after it; and its log still verifies.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::ConnectOptions;

use crate::support::installation::Installation;
use crate::support::person::{Person, until};
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::{World, agent_card};

struct Scene {
    installation: Installation,
    here: Served,
    there: Served,
    /// Its organisation's home tenant.
    home: World,
    /// Another tenant of that organisation, with an agent, a key and a secret.
    ending: World,
}

impl Scene {
    async fn new() -> Self {
        let installation = Installation::with("[gateway]\ndemo_provider = true\n").await;
        let (here, there) = (installation.serve().await, installation.serve().await);
        let home = World::new(&here, &["demo-small"]).await;
        let organisation = organisation_of(&here, &home).await;
        let body = json!({"organisation": organisation, "name": "Ending"});
        let made = here.post("/v1/tenants", &body).await.good();
        let mut ending = World {
            tenant: made["id"].as_str().unwrap().parse().unwrap(),
            ..home.clone()
        };
        ending.agent = ending.register_agent(&here, "helper", &["demo-small"]).await;
        let path = ending.path(&format!("/agents/{}/keys", ending.agent));
        let issued = here.post(&path, &json!({})).await.good();
        ending.key = issued["api_key"].as_str().unwrap().to_owned();
        let secret = json!({"name": "feed", "purpose": "source_credential", "value": "end-of-life-canary"});
        here.post(&ending.path("/secrets"), &secret).await.good();
        Self {
            installation,
            here,
            there,
            home,
            ending,
        }
    }

    async fn close(&self, retain: Duration) -> Reply {
        let until = chrono::Utc::now() + retain;
        let retain_until = until.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let body = json!({"reason": "contract_ended", "retain_until": retain_until});
        self.here.post(&self.ending.path("/close"), &body).await
    }

    async fn erase(&self) -> Reply {
        self.here.post(&self.ending.path("/erase"), &Value::Null).await
    }

    async fn sealed(&self) -> i64 {
        let mut admin = self.installation.admin().connect().await.unwrap();
        let query = "SELECT count(*) FROM counterfoil.secret_versions WHERE tenant_id = $1";
        sqlx::query_scalar(query)
            .bind(self.ending.tenant.0)
            .fetch_one(&mut admin)
            .await
            .unwrap()
    }
}

/// The read model may be a moment behind.
async fn organisation_of(server: &Served, home: &World) -> Value {
    loop {
        let listed = server.get("/v1/organisations?limit=500").await.good();
        let mut items = listed["items"].as_array().unwrap().iter();
        if let Some(found) = items.find(|item| item["home_tenant"] == home.tenant.to_string()) {
            return found["id"].clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn models(server: &Served, key: &str) -> Reply {
    let request = reqwest::Client::new().get(format!("{}/v1/models", server.url));
    Reply::of(request.bearer_auth(key)).await
}

fn code(reply: &Reply) -> String {
    reply.json()["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_ends_step_by_step_and_its_log_still_verifies() {
    let scene = Scene::new().await;
    let (here, there, ending) = (&scene.here, &scene.there, &scene.ending);
    let member = Person::with(here, &ending.path(""), "tenant_admin").await;
    until(200, "its key works", async || models(there, &ending.key).await).await;
    let year = Duration::from_secs(365 * 24 * 3600);

    // Not before it is suspended, and no home tenant.
    assert_eq!(code(&scene.erase().await), "tenant_not_closed");
    assert_eq!(code(&scene.close(year).await), "tenant_suspend_first");
    let why = json!({"reason": "contract_ended"});
    here.post(&ending.path("/suspend"), &why).await.good();
    let close_home = json!({"reason": "contract_ended", "retain_until": "2036-01-01T00:00:00.000000Z"});
    assert_eq!(
        code(&here.post(&scene.home.path("/close"), &close_home).await),
        "tenant_home"
    );
    assert_eq!(code(&scene.close(31 * year).await), "tenant_retention");
    // Who runs the tenant does not end it: that is agreed with the platform.
    assert_eq!(
        member
            .post(here, &ending.path("/close"), &close_home)
            .await
            .problem(),
        "forbidden"
    );
    let tenant = ending.tenant.to_string();
    scene
        .installation
        .good(&["audit", "export", "--tenant", &tenant, "--out", "ended.jsonl"])
        .await;

    scene.close(Duration::from_secs(3)).await.good();
    for server in [here, there] {
        // Its keys are nobody's, and it takes no commands, whoever sends them; it is read as before.
        until(401, "a key of a closed tenant", async || {
            models(server, &ending.key).await
        })
        .await;
        let card = agent_card("late", &["demo-small"]);
        until(409, "a command", async || {
            server.post(&ending.path("/agents"), &card).await
        })
        .await;
        assert_eq!(
            code(&server.post(&ending.path("/agents"), &card).await),
            "tenant_closed"
        );
        assert_eq!(
            code(&server.post(&ending.path("/resume"), &Value::Null).await),
            "tenant_closed"
        );
        assert_eq!(
            code(&member.post(server, &ending.path("/agents"), &card).await),
            "tenant_closed"
        );
        member.get(server, &ending.path("/events")).await.good();
    }
    // A role there can still be taken away, and none be given.
    let role = ending.path(&format!("/members/{}/roles/tenant_admin", member.id));
    let put = Reply::of(here.request(Method::PUT, &role)).await;
    assert_eq!(code(&put), "tenant_closed");
    Reply::of(here.request(Method::DELETE, &role)).await.good();

    let before = here.get(&ending.path("/events?limit=500")).await.good();
    assert_eq!(scene.sealed().await, 1);
    until(200, "its time is over", async || {
        let reply = scene.erase().await;
        assert!(
            reply.status == 200 || code(&reply) == "tenant_retained",
            "{}",
            reply.text
        );
        reply
    })
    .await;
    assert_eq!(scene.sealed().await, 0, "its ciphertexts are gone");
    // What was overtaken by the erasure goes when it is sent again.
    let mut admin = scene.installation.admin().connect().await.unwrap();
    let late = "INSERT INTO counterfoil.secret_versions \
                (tenant_id, secret, version, digest, sealed, data_key, organisation_key, wrapped) \
                VALUES ($1, 'late', 1, sha256('late'), 'late', gen_random_uuid(), 1, 'late')";
    let tenant = ending.tenant.0;
    sqlx::query(late).bind(tenant).execute(&mut admin).await.unwrap();
    assert_eq!(scene.sealed().await, 1);
    assert_eq!(code(&scene.erase().await), "tenant_already_erased");
    assert_eq!(scene.sealed().await, 0);

    // Not a byte of its log has changed, nothing came in, and all of it verifies.
    let after = here.get(&ending.path("/events?limit=500")).await.good();
    assert_eq!(after, before);
    scene.installation.good(&["audit", "verify"]).await;
    // The other tenant goes on.
    assert_eq!(models(there, &scene.home.key).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_retained_is_not_erased() {
    let scene = Scene::new().await;
    let why = json!({"reason": "contract_ended"});
    scene.here.post(&scene.ending.path("/suspend"), &why).await.good();
    scene.close(Duration::from_secs(24 * 3600)).await.good();
    assert_eq!(code(&scene.erase().await), "tenant_retained");
    assert_eq!(scene.sealed().await, 1);
}
