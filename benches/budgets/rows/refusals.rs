//! Refusals that must not be told apart, by their times: pairs of requests in turns over one connection each, so that
//! whatever else the machine does falls on both. What counts is the difference; a budget it has none, since a
//! clock on a shared machine proves nothing, but a difference that is far above the noise shows.

use std::net::SocketAddr;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::http::Client;
use crate::load::{Meter, Sample};
use crate::options::Options;
use crate::served::{Served, agent_key, card, tenant};
use crate::site::{Site, TOKEN};
use crate::table::{Line, Table};

/// One request, and who sends it.
struct Ask {
    name: &'static str,
    token: String,
    what: String,
}

/// Two requests that are refused.
struct Pair {
    name: &'static str,
    asks: [Ask; 2],
}

pub async fn measure(site: &Site, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    // Every request is refused: the limit on that would be what is measured.
    let installation = site
        .installation("limits.refused_credentials_per_minute = 0\n")
        .await?;
    let served = Served::start(&installation, "").await?;
    for pair in pairs(&served).await? {
        let [mut first, mut second] = time(served.address, &pair, options).await?;
        let (p50, p99) = (
            first.percentile(50.0) - second.percentile(50.0),
            first.percentile(99.0) - second.percentile(99.0),
        );
        let [one, other] = &pair.asks;
        let ours = format!("p50 {:+.0} µs, p99 {:+.0} µs", p50 * 1000.0, p99 * 1000.0);
        let beside = format!(
            "{}: {}; {}: {}",
            one.name,
            first.latency(),
            other.name,
            second.latency()
        );
        table.add(Line::new(format!("refusal: {}", pair.name), ours).beside(beside));
    }
    served.stop().await?;
    installation.end().await
}

/// Takes the times of both in turns.
async fn time(address: SocketAddr, pair: &Pair, options: &Options) -> anyhow::Result<[Sample; 2]> {
    let [one, other] = &pair.asks;
    let mut clients = [
        Client::connect(address, &one.token).await?,
        Client::connect(address, &other.token).await?,
    ];
    let mut meters = [Meter::new(options.length()), Meter::new(options.length())];
    while meters[0].goes_on() {
        for ((client, meter), ask) in clients.iter_mut().zip(&mut meters).zip(&pair.asks) {
            let status = meter
                .time(async { Ok(client.send(&ask.what, None, "").await?.status) })
                .await?;
            anyhow::ensure!((400..500).contains(&status), "{}: {status}", ask.name);
        }
    }
    Ok(meters.map(Meter::sample))
}

async fn pairs(served: &Served) -> anyhow::Result<Vec<Pair>> {
    let mut admin = served.client().await?;
    let (ours, theirs) = (tenant(&mut admin).await?, tenant(&mut admin).await?);
    let made = admin
        .call(&format!("POST /v1/tenants/{theirs}/agents"), &card())
        .await?;
    let their_agent = text(&made, "id")?;
    let nobody = uuid::Uuid::now_v7();
    let ask = |name, token: &str, what: String| Ask {
        name,
        token: token.to_owned(),
        what,
    };
    let agent = |id: &str| format!("GET /v1/tenants/{ours}/agents/{id}");
    let place = |tenant: &str| format!("GET /v1/tenants/{tenant}/agents");
    let user = user_of(&mut admin, &ours).await?;
    let (unknown, revoked, suspended) = keys(&mut admin, &ours).await?;
    let models = || "GET /v1/models".to_owned();
    Ok(vec![
        Pair {
            name: "another tenant's agent on one's own path, and a missing one",
            asks: [
                ask("another's", TOKEN, agent(&their_agent)),
                ask("missing", TOKEN, agent(&nobody.to_string())),
            ],
        },
        Pair {
            name: "another tenant, and a missing one, to a user",
            asks: [
                ask("another's", &user, place(&theirs)),
                ask("missing", &user, place(&nobody.to_string())),
            ],
        },
        Pair {
            name: "a revoked key, and an unknown one",
            asks: [
                ask("revoked", &revoked, models()),
                ask("unknown", &unknown, models()),
            ],
        },
        Pair {
            name: "a suspended agent's key, and an unknown one",
            asks: [
                ask("suspended", &suspended, models()),
                ask("unknown", &unknown, models()),
            ],
        },
    ])
}

/// The token of a user who runs a tenant.
async fn user_of(admin: &mut Client, tenant: &str) -> anyhow::Result<String> {
    let user = admin.call("POST /v1/users", &json!({"kind": "person"})).await?;
    let user = text(&user, "id")?;
    let role = format!("PUT /v1/tenants/{tenant}/members/{user}/roles/tenant_admin");
    admin.call(&role, &Value::Null).await?;
    let token = admin
        .call(&format!("POST /v1/users/{user}/tokens"), &Value::Null)
        .await?;
    text(&token, "token")
}

/// A key that was never issued, one that was revoked, and one of a suspended agent.
async fn keys(admin: &mut Client, tenant: &str) -> anyhow::Result<(String, String, String)> {
    let agents = format!("/v1/tenants/{tenant}/agents");
    let made = admin.call(&format!("POST {agents}"), &card()).await?;
    let agent = text(&made, "id")?;
    let issued = admin
        .call(&format!("POST {agents}/{agent}/keys"), &json!({}))
        .await?;
    let (revoked, id) = (text(&issued, "api_key")?, text(&issued, "key_id")?);
    let why = json!({"reason": "bench"});
    admin
        .call(&format!("POST {agents}/{agent}/keys/{id}/revoke"), &why)
        .await?;
    let suspended = agent_key(admin, tenant).await?;
    // The second agent is the one that is not the first.
    let listed = loop {
        let page = admin.call(&format!("GET {agents}"), &Value::Null).await?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        if items.len() > 1 {
            break items;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let other = listed.iter().find(|item| item["id"] != agent.as_str());
    let other = text(other.context("a second agent")?, "id")?;
    admin
        .call(&format!("POST {agents}/{other}/suspend"), &why)
        .await?;
    // As long as any key, and of nobody.
    let unknown = format!("cfk_00000000_{}", "A".repeat(43));
    Ok((unknown, revoked, suspended))
}

fn text(value: &Value, member: &str) -> anyhow::Result<String> {
    let found = value[member].as_str();
    Ok(found
        .with_context(|| format!("no {member} in {value}"))?
        .to_owned())
}
