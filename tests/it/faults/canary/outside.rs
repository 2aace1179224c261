//! What is outside: a provider and a source of figures that say the mark in every way they can fail, and the
//! configuration that leads there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use serde_json::{Value, json};
use wiremock::matchers::{body_partial_json, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::mark;

/// Each is a way to fail.
pub const MODELS: [&str; 4] = ["refusing", "failing", "garbling", "breaking"];

const PRICE: &str = "effective_from = \"2025-01-01\"\ncurrency = \"USD\"\ninput_micros_per_million = 1\n\
                     cached_input_micros_per_million = 1\noutput_micros_per_million = 1\n";

/// A provider and a source of figures that say the mark in every way they can fail.
pub async fn start() -> MockServer {
    let server = MockServer::start().await;
    let error = json!({"error": {"message": mark("provider-error"), "type": mark("provider-type"), "code": mark("code")}});
    let chunk = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "breaking",
        "choices": [{"index": 0, "delta": {"content": mark("provider-content")}, "finish_reason": null}]});
    let stream = format!("data: {chunk}\n\ndata: {error}\n\n");
    let answers = [
        ResponseTemplate::new(400).set_body_json(&error),
        ResponseTemplate::new(500).set_body_json(&error),
        ResponseTemplate::new(200).set_body_string(mark("provider-garbage")),
        ResponseTemplate::new(200).set_body_raw(stream, "text/event-stream"),
    ];
    for (model, answer) in MODELS.into_iter().zip(answers) {
        let asked = Mock::given(path("/v1/chat/completions")).and(body_partial_json(json!({"model": model})));
        asked.respond_with(answer).mount(&server).await;
    }
    let payload = json!({"value": mark("kri-value"), "more": mark("kri-payload")});
    let figures = ResponseTemplate::new(200).set_body_json(payload);
    Mock::given(path("/figures"))
        .respond_with(figures)
        .mount(&server)
        .await;
    let lost = ResponseTemplate::new(404).set_body_string(mark("kri-error"));
    Mock::given(path("/lost")).respond_with(lost).mount(&server).await;
    server
}

/// The configuration that leads there, with everything logged.
pub fn configuration(outside: &MockServer, directory: &Path) -> String {
    let prices = directory.join("prices.toml");
    let of_main = MODELS.map(|model| ("main", model));
    let priced = of_main.into_iter().chain([("demo", "demo-small")]);
    let table = |(provider, model): (&str, &str)| {
        format!("[[price]]\nid = \"{model}\"\nprovider = \"{provider}\"\nmodel = \"{model}\"\n{PRICE}")
    };
    std::fs::write(&prices, priced.map(table).collect::<String>()).unwrap();
    let (address, key) = (outside.address(), mark("provider-key"));
    let models = MODELS.map(|model| format!("{{ name = \"{model}\", upstream = \"main\" }}"));
    let models = models.join(", ");
    let prices = Value::from(prices.to_str());
    format!(
        "[telemetry]\nlog_filter = \"debug\"\n[kri.fetch]\nallow_private = [\"{address}\"]\n\
         [gateway]\ndemo_provider = true\nprices_file = {prices}\n\
         models = [{models}, {{ name = \"demo-small\", upstream = \"demo\" }}]\n\
         upstreams = [{{ name = \"main\", base_url = \"http://{address}/v1\", api_key = \"{key}\", attempts_max = 1 }}]\n"
    )
}
