use super::support::{Bench, Got, question};

#[tokio::test]
async fn models_are_those_of_the_spec_card_that_have_a_price() {
    let bench = Bench::start().await;
    let list = bench.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    let ids: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].clone())
        .collect();
    assert_eq!(ids, ["demo-large", "demo-small"]);
    let one = bench.get("/v1/models/demo-small").await.json();
    assert_eq!(one["owned_by"], "demo");
    assert_eq!(one["object"], "model");
    assert!(one["created"].as_i64().unwrap() > 1_700_000_000);

    bench.change(|identity| identity.models = ["demo-small".parse().unwrap()].into());
    assert_eq!(
        bench.get("/v1/models").await.json()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let foreign = bench.get("/v1/models/demo-large").await;
    let absent = bench.get("/v1/models/nothing").await;
    assert_eq!(foreign.error(), "404 invalid_request_error model_not_found");
    assert_eq!(foreign.text, absent.text);
    bench.change(|identity| identity.standing.key_revoked = true);
    assert_eq!(
        bench.get("/v1/models").await.error(),
        "401 invalid_request_error invalid_api_key"
    );
    assert!(bench.log.names().is_empty());
}

#[tokio::test]
async fn every_error_of_the_surface_has_openais_shape() {
    let bench = Bench::start().await;
    assert!(
        bench
            .get("/v1/chat/nothing")
            .await
            .error()
            .starts_with("404 invalid_request_error")
    );
    assert!(
        bench
            .get("/v1/chat/completions")
            .await
            .error()
            .starts_with("405 ")
    );
    assert!(bench.send("text/plain", "{}").await.error().starts_with("415 "));
    let large = question("demo-small", &"x".repeat(9 << 20));
    assert!(bench.ask(&large).await.error().starts_with("413 "));
    let broken = bench.send("application/json", "{").await;
    assert_eq!(broken.error(), "400 invalid_request_error invalid_json");
}

#[tokio::test]
async fn a_callers_request_id_is_echoed() {
    let bench = Bench::start().await;
    let body = question("demo-small", "Hello");
    let got = Got::read(bench.request(&body).header("x-request-id", "their-id-7")).await;
    assert_eq!(got.header("x-request-id"), "their-id-7");
}
