//! The published schemas of events: served as they stand in the documentation.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use serde_json::Value;

use crate::support::installation::Installation;

#[tokio::test(flavor = "multi_thread")]
async fn the_schemas_that_are_served_are_the_files_in_the_documentation_and_all_of_them() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas/events");
    let listed = server.get("/v1/event-schemas").await.good();
    let items = listed["items"].as_array().unwrap();
    for item in items {
        let text = |name: &str| item[name].as_str().unwrap();
        let file = format!("{}/{}-{}.json", text("aggregate"), text("type"), text("version"));
        let written = std::fs::read_to_string(folder.join(&file)).unwrap();
        let served = server.get(text("href")).await;
        assert_eq!(served.header("content-type"), "application/schema+json");
        assert_eq!(served.text, written, "{file}");
        let current = server.get(&format!("/v1/event-schemas/{}", text("type"))).await;
        assert_eq!(current.text, written, "{file}");
    }
    let files = std::fs::read_dir(&folder)
        .unwrap()
        .flat_map(|aggregate| std::fs::read_dir(aggregate.unwrap().path()).unwrap());
    assert_eq!(files.count(), items.len(), "every file is served");
    for unknown in ["Nonsense", "Nonsense/1.0", "AgentRegistered/9.9"] {
        let reply = server.get(&format!("/v1/event-schemas/{unknown}")).await;
        assert_eq!(reply.problem(), "not-found", "{unknown}");
    }
    let description: Value = server.get("/openapi.json").await.good();
    for path in [
        "/v1/event-schemas",
        "/v1/event-schemas/{type}",
        "/v1/event-schemas/{type}/{version}",
        "/v1/tenants/{tenant}/events",
    ] {
        assert!(description["paths"][path]["get"].is_object(), "{path}");
    }
}
