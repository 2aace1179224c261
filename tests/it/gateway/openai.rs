//! An unmodified OpenAI Python client: what it can do with OpenAI's service it can do with the gateway.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Command;

use crate::support::installation::Installation;
use crate::support::world::World;

/// Requests that one key may send at once; one more every three seconds.
const BURST: u32 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn an_unmodified_openai_client_works_and_its_errors_are_of_the_right_kind() {
    let limits = format!(
        "[limits]\nrequests_per_minute = 20\nburst_requests = {BURST}\n[gateway]\ndemo_provider = true\n"
    );
    let installation = Installation::with(&limits).await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let limited = World::new(&server, &["demo-small"]).await;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut client = Command::new(repository.join(".counterfoil/tools/venv/bin/python"));
    client
        .arg(repository.join("tests/clients/openai_client.py"))
        .env("COUNTERFOIL_TEST_URL", &server.url)
        .env("COUNTERFOIL_TEST_KEY", &world.key)
        .env("COUNTERFOIL_TEST_LIMITED_KEY", &limited.key)
        .env("COUNTERFOIL_TEST_BURST", BURST.to_string());
    let output = tokio::task::spawn_blocking(move || client.output())
        .await
        .unwrap()
        .expect("Python is there: deploy/dev/setup.sh --tests");
    let (done, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "after {done}: {error}");
    assert_eq!(done.lines().last(), Some("gone"));

    // What the client was told is what the log says.
    let events = server
        .get(&world.path("/events?types=CompletionDenied&limit=500"))
        .await
        .good();
    let denied = events["items"].as_array().unwrap();
    let codes = |code: &str| {
        let of_code = |item: &&serde_json::Value| item["envelope"].as_str().unwrap().contains(code);
        denied.iter().filter(of_code).count()
    };
    assert_eq!(codes("\"reasons\":[\"topic.payroll\"]"), 2, "{denied:?}");
    assert_eq!(codes("\"code\":\"model_not_found\""), 1, "{denied:?}");
}
