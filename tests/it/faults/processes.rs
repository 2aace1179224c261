//! Several processes on one log: both make progress, one that is paused while it leads does no harm when it wakes, and a
//! handler that panics costs its own request alone.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use counterfoil::stack::ServerKind;
use nix::sys::signal::Signal;
use serde_json::json;

use super::site::Site;
use crate::support::installation::Installation;
use crate::support::random::Random;
use crate::support::stack::{private_stack, shared_stack};
use crate::support::world::agent_card;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_paused_and_wakes_forks_nothing_and_others_go_on() {
    let mut random = Random::seeded();
    let mut site = Site::new(shared_stack().endpoints()).await;
    // The first leads: the second came later.
    let leader = site.serve().await;
    let other = site.serve().await;
    let load = site.load(&mut random);
    for _ in 0..3 {
        load.seen.progress(60).await;
        site.live.remove(&leader.url);
        leader.signal(Signal::SIGSTOP);
        // Requests that it holds wait for it; everybody else's go on.
        load.seen.progress(60).await;
        leader.signal(Signal::SIGCONT);
        site.live.add(&leader.url);
    }
    load.seen.progress(60).await;
    site.finish(load).await;
    leader.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_requests_go_on_and_ready_says_so() {
    let mut random = Random::seeded();
    let (_dir, stack) = private_stack().await;
    let mut site = Site::new(stack.endpoints()).await;
    let serving = site.serve().await;
    let redis = |body: &serde_json::Value| body["components"]["redis"]["health"].clone();
    serving
        .until_ready("Redis is there", |_, body| redis(body) == "ok")
        .await;
    let load = site.load(&mut random);
    load.seen.progress(40).await;
    stack.halt(ServerKind::Redis).await.unwrap();
    load.seen.progress(80).await;
    serving
        .until_ready("Redis is away", |status, body| {
            status == 200 && redis(body) == "degraded"
        })
        .await;
    stack.resume(ServerKind::Redis).await.unwrap();
    serving
        .until_ready("Redis is back", |_, body| redis(body) == "ok")
        .await;
    let errors = load.seen.errors();
    assert!(errors.keys().all(|(status, _)| *status < 500), "{errors:?}");
    site.finish(load).await;
    serving.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_panics_is_a_500_of_its_own_request_and_a_line_in_the_log() {
    let installation = Installation::new().await;
    let calm = installation.serve().await;
    let company = json!({"kind": "company", "name": "Tidewater"});
    let made = calm.post("/v1/organisations", &company).await.good();
    calm.stop().await;
    let panics = [("FAILPOINTS", "http.in_handler=1*off->1*panic->off")];
    let mut serving = installation.try_serve(&panics).await.unwrap();
    serving.until_ready("begun", |status, _| status == 200).await;
    let agents = format!("/v1/tenants/{}/agents", made["home_tenant"].as_str().unwrap());
    let mut answers = Vec::new();
    for name in ["one", "two", "three"] {
        let reply = serving.post(&agents, &agent_card(name, &["demo-small"])).await;
        answers.push((reply.status, reply.error(), reply.text));
    }
    let status: Vec<u16> = answers.iter().map(|(status, ..)| *status).collect();
    assert_eq!(status, [201, 500, 201], "{answers:?}");
    assert_eq!(answers[1].1, "internal");
    let log = serving.log();
    assert!(
        log.contains("counterfoil::panic") && log.contains("fail points: it is for tests"),
        "{log}"
    );
    assert!(serving.ended_within(Duration::ZERO).await.is_none());
    serving.stop().await;
}
