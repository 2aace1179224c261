//! Step 1: who there is. A carrier carries three tenants of a group; each tenant has every agent of the fixtures.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde_json::{Value, json};

use super::client::{Client, DemoError, text};

pub(super) const CARRIER: &str = "Northsea Mutual";
const GROUP: &str = "Tidewater Group";
/// Name, share that the carrier carries, exposure in millionths of a euro.
const TENANTS: [(&str, &str, &str); 3] = [
    ("harbour", "0.6", "4000000000000"),
    ("meadow", "0.25", "1500000000000"),
    ("summit", "1", "2500000000000"),
];

const AGENTS: &str = include_str!("../../fixtures/prompts.agents.json");
const ORGANISATION_POLICY: &str = include_str!("../../fixtures/policies/organisation.rego");
const TENANT_POLICY: &str = include_str!("../../fixtures/policies/tenant-v1.rego");
const CHANGED_TENANT_POLICY: &str = include_str!("../../fixtures/policies/tenant-v2.rego");

pub(super) struct World {
    pub(super) carrier: String,
    pub(super) tenants: Vec<Tenant>,
}

pub(super) struct Tenant {
    pub(super) name: &'static str,
    pub(super) id: String,
    /// By the agent's name in the fixtures.
    pub(super) keys: BTreeMap<String, SecretString>,
}

/// What an earlier demo has left.
pub(super) enum Earlier {
    /// There was none.
    Nothing,
    /// It did not come to its end.
    CutOff,
    /// All of it; but its keys, which were shown once.
    Whole(World),
}

/// Looks for an earlier demo: the carrier is the first thing it makes, the rollup of all KRIs the last that comes of it.
pub(super) async fn earlier(client: &Client) -> Result<Earlier, DemoError> {
    let organisations = client.get("/v1/organisations?limit=500").await?;
    let Some(carrier) = items(&organisations).find(|item| item["name"] == CARRIER) else {
        return Ok(Earlier::Nothing);
    };
    let carrier = text(carrier, "id")?.to_owned();
    let listed = client.get("/v1/tenants?limit=500").await?;
    let mut tenants = Vec::new();
    for (name, _, _) in TENANTS {
        if let Some(found) = items(&listed).find(|item| item["name"] == name) {
            let (id, keys) = (text(found, "id")?.to_owned(), BTreeMap::new());
            tenants.push(Tenant { name, id, keys });
        }
    }
    let rollups = rollups(client, &carrier).await?;
    let measured = |item: &Value| item["statistics"]["members"] == TENANTS.len();
    let is_whole = tenants.len() == TENANTS.len()
        && items(&rollups).filter(|item| measured(item)).count() == super::kris::COUNT;
    Ok(match is_whole {
        true => Earlier::Whole(World { carrier, tenants }),
        false => Earlier::CutOff,
    })
}

/// The carrier's rollups, one item a KRI.
pub(super) async fn rollups(client: &Client, carrier: &str) -> Result<Value, DemoError> {
    client.get(&format!("/v1/carriers/{carrier}/rollups")).await
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

pub(super) async fn build(client: &Client) -> Result<World, DemoError> {
    let carrier = client
        .post("/v1/organisations", &json!({"kind": "carrier", "name": CARRIER}))
        .await?;
    let group = client
        .post("/v1/organisations", &json!({"kind": "group", "name": GROUP}))
        .await?;
    let (carrier, group_id) = (text(&carrier, "id")?.to_owned(), text(&group, "id")?.to_owned());
    publish(
        client,
        text(&group, "home_tenant")?,
        "organisation",
        ORGANISATION_POLICY,
    )
    .await?;
    let mut tenants = Vec::new();
    for (name, share, exposure) in TENANTS {
        let tenant = client
            .post("/v1/tenants", &json!({"organisation": group_id, "name": name}))
            .await?;
        let id = text(&tenant, "id")?.to_owned();
        client
            .put(
                &format!("/v1/tenants/{id}/carriers/{carrier}"),
                &json!({"share": share}),
            )
            .await?;
        let amount = json!({"amount": {"micros": exposure, "currency": "EUR"}});
        client.put(&format!("/v1/tenants/{id}/exposure"), &amount).await?;
        publish(client, &id, "tenant", TENANT_POLICY).await?;
        let keys = register_agents(client, &id).await?;
        tenants.push(Tenant { name, id, keys });
    }
    Ok(World { carrier, tenants })
}

async fn register_agents(client: &Client, tenant: &str) -> Result<BTreeMap<String, SecretString>, DemoError> {
    let cards: BTreeMap<String, Value> = serde_json::from_str(AGENTS)
        .map_err(|error| DemoError::Shape(format!("fixtures/prompts.agents.json: {error}")))?;
    let mut keys = BTreeMap::new();
    for (name, card) in cards {
        let agent = client
            .post(&format!("/v1/tenants/{tenant}/agents"), &card)
            .await?;
        let path = format!("/v1/tenants/{tenant}/agents/{}/keys", text(&agent, "id")?);
        let issued = client.post(&path, &json!({})).await?;
        keys.insert(name, SecretString::from(text(&issued, "api_key")?));
    }
    Ok(keys)
}

async fn publish(client: &Client, tenant: &str, layer: &str, source: &str) -> Result<(), DemoError> {
    let path = format!("/v1/tenants/{tenant}/policies/{layer}/versions");
    let published = client.post(&path, &json!({"source": source})).await?;
    let version = published["version"].as_u64().unwrap_or(0);
    client
        .post_bare(&format!("{path}/{version}/activate"))
        .await
        .map(|_| ())
}

/// The change in the middle of the demo: every tenant tightens its policy.
pub(super) async fn tighten(client: &Client, world: &World) -> Result<(), DemoError> {
    for tenant in &world.tenants {
        publish(client, &tenant.id, "tenant", CHANGED_TENANT_POLICY).await?;
    }
    Ok(())
}
