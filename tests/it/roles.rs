//! Processes with one role each: every one of them can be asked how it is, and only the API answers for the API.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use nix::sys::signal::Signal;

use crate::support::installation::Installation;

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_the_api_says_how_it_is_and_serves_nothing_else() {
    let installation = Installation::new().await;
    for (role, component) in [
        ("relay", "relay"),
        ("consumers", "projections"),
        ("runner", "postgres"),
    ] {
        let process = installation.serve_with(&["--role", role]).await;
        assert_eq!(process.get("/live").await.text, "live\n", "{role}");
        let ready = process.get("/ready").await.good();
        assert!(ready["components"][component].is_object(), "{role}: {ready}");
        let figures = process.get("/metrics").await;
        assert_eq!(figures.header("content-type"), "text/plain; version=0.0.4");
        assert!(figures.text.contains("counterfoil_http_requests_total"), "{role}");
        for path in ["/v1/organisations", "/v1/event-schemas", "/v1/models"] {
            assert_eq!(
                process.get(path).await.problem(),
                "no-such-route",
                "{role} {path}"
            );
        }
        process.signal(Signal::SIGTERM);
        process.stopped().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_said_so_and_what_was_started_is_ended() {
    let installation = Installation::new().await;
    let first = installation.serve_with(&["--role", "relay"]).await;
    let address = first.url.strip_prefix("http://").unwrap();
    let mut second = installation.command(&[
        "--set",
        &format!("http.address={address}"),
        "serve",
        "--role",
        "runner",
    ]);
    let output = second.output().await.unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(&format!("cannot listen on {address}")) && said.contains("http.address"),
        "{said}"
    );
}
