//! Request counters and kept answers on a real Redis: shared by processes, and what happens when it is killed, hangs,
//! is full, evicts, or holds something else under our key.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use bytes::Bytes;
use counterfoil::config::{LimitsConfig, RedisConfig};
use counterfoil::http::health::Health;
use counterfoil::http::{Lifecycle, Readiness};
use counterfoil::limits::gcra;
use counterfoil::limits::{AnswerKey, KeptAnswers, Rate, RedisLink, RequestLimiter};
use counterfoil::stack::{Endpoints, ServerKind, Stack, StackConfig};
use counterfoil_events::ids::TenantId;
use nix::sys::signal::Signal;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use crate::support::installation::Installation;
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::stack::{TempDir, shared_stack};

/// What one process has of it.
struct Process {
    limiter: RequestLimiter,
    answers: KeptAnswers,
    readiness: Readiness,
    lifecycle: Lifecycle,
}

impl Process {
    /// With Redis connected, so that nothing is counted elsewhere first.
    async fn start(endpoints: &Endpoints) -> Self {
        // Requests on a loaded machine may not be taken for a Redis that hangs.
        let config = RedisConfig {
            url: Some(endpoints.redis_url.clone()),
            timeout_ms: 1000,
            ..RedisConfig::default()
        };
        let process = Self::with(&config);
        process.until(Health::Ok).await;
        process
    }

    fn with(config: &RedisConfig) -> Self {
        let (lifecycle, readiness) = (Lifecycle::new(), Readiness::new());
        let link = RedisLink::keep(config, &lifecycle, readiness.optional("redis")).unwrap();
        Self {
            limiter: RequestLimiter::new(link.clone(), 1000),
            answers: KeptAnswers::new(link, &LimitsConfig::default()),
            readiness,
            lifecycle,
        }
    }

    fn health(&self) -> (Health, String) {
        let redis = self.readiness.components().remove("redis").unwrap();
        (redis.health, redis.reason.unwrap_or_default())
    }

    async fn until(&self, health: Health) {
        for _ in 0..6000 {
            if self.health().0 == health {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("Redis did not become {health:?}: {:?}", self.health());
    }

    /// Until it is degraded for this reason.
    async fn until_reason(&self, reason: &str) {
        for _ in 0..6000 {
            if self.health().1.contains(reason) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("Redis is not degraded for {reason:?}: {:?}", self.health());
    }

    /// How many of six requests of this key pass a burst of three.
    async fn passed_of_six(&self, key: &str) -> usize {
        let mut passed = 0;
        for _ in 0..6 {
            passed += usize::from(self.limiter.count(key, slow()).await.allowed);
        }
        passed
    }

    async fn stop(self) {
        self.lifecycle.drain();
        self.lifecycle.ended().await;
    }
}

/// So slow that nothing becomes free while a test runs.
fn slow() -> Rate {
    Rate::per_minute(1, 3)
}

fn fresh(name: &str) -> String {
    format!("{name}-{}", Uuid::now_v7())
}

fn answer_key(name: &str) -> AnswerKey {
    AnswerKey::of(TenantId::generate(), "agent:1", "POST /v1/chat/completions", name)
}

async fn redis(endpoints: &Endpoints) -> redis::aio::MultiplexedConnection {
    use secrecy::ExposeSecret;
    let client = redis::Client::open(endpoints.redis_url.expose_secret()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn used_memory(endpoints: &Endpoints) -> u64 {
    let mut connection = redis(endpoints).await;
    let mut info = redis::cmd("INFO");
    let text: String = info.arg("memory").query_async(&mut connection).await.unwrap();
    let mut lines = text.lines();
    let used = lines.find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    used.trim().parse().unwrap()
}

async fn set_config(endpoints: &Endpoints, name: &str, value: &str) {
    let mut connection = redis(endpoints).await;
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg(name).arg(value);
    set.exec_async(&mut connection).await.unwrap();
}

#[tokio::test]
async fn two_processes_count_one_key_together() {
    let endpoints = shared_stack().endpoints();
    let (one, two) = (Process::start(endpoints).await, Process::start(endpoints).await);
    let key = fresh("shared");
    assert!(one.limiter.count(&key, slow()).await.allowed);
    assert!(two.limiter.count(&key, slow()).await.allowed);
    assert!(one.limiter.count(&key, slow()).await.allowed);
    let refused = two.limiter.count(&key, slow()).await;
    assert!(!refused.allowed && refused.retry_after > Duration::ZERO);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn concurrent_requests_never_pass_more_than_the_burst() {
    let process = Process::start(shared_stack().endpoints()).await;
    let key = fresh("burst");
    let rate = Rate::per_minute(1, 17);
    let verdicts = futures::future::join_all((0..200).map(|_| process.limiter.count(&key, rate))).await;
    assert_eq!(verdicts.iter().filter(|verdict| verdict.allowed).count(), 17);
    process.stop().await;
}

/// Arrivals under three keys of different rates, as gaps: none, some, and long ones.
fn arrivals() -> impl Strategy<Value = (Vec<Rate>, Vec<u64>)> {
    let rate = (1..3_000_u32, 1..20_u32).prop_map(|(per_minute, burst)| Rate::per_minute(per_minute, burst));
    let gap = prop_oneof![Just(0), 0..50_000_u64, 0..2_000_000_u64];
    (prop::collection::vec(rate, 3), prop::collection::vec(gap, 1..40))
}

#[tokio::test]
async fn for_the_same_arrivals_the_script_in_redis_is_the_function_in_memory() {
    let process = Process::start(shared_stack().endpoints()).await;
    let mut runner = TestRunner::new(Config::with_cases(40));
    for _ in 0..40 {
        let (rates, gaps) = arrivals().new_tree(&mut runner).unwrap().current();
        let keys: Vec<(String, Rate)> = rates.iter().map(|rate| (fresh("same"), *rate)).collect();
        let mut held: Vec<Option<u64>> = vec![None; keys.len()];
        let mut now = 1_800_000_000_000_000;
        for gap in &gaps {
            now += gap;
            let in_redis = process.limiter.count_all_at(&keys, now).await.unwrap();
            let asked: Vec<_> = held.iter().copied().zip(rates.iter().copied()).collect();
            let (pure, next) = gcra::step_all(&asked, now);
            assert_eq!(in_redis, pure, "{rates:?} {gaps:?} at {now}");
            if let Some(next) = next {
                held = next.into_iter().map(Some).collect();
            }
        }
    }
    process.stop().await;
}

#[tokio::test]
async fn a_request_that_one_of_its_keys_refuses_is_counted_under_none() {
    let process = Process::start(shared_stack().endpoints()).await;
    let (wide, narrow) = ((fresh("wide"), Rate::per_minute(1, 9)), (fresh("narrow"), slow()));
    let both = [wide.clone(), narrow];
    for n in 0..8 {
        let passed = process
            .limiter
            .count_all(&both)
            .await
            .iter()
            .all(|verdict| verdict.allowed);
        assert_eq!(passed, n < 3, "request {n}");
    }
    let left = process.limiter.count(&wide.0, wide.1).await;
    assert_eq!(left.remaining, 5, "three passed before, and this one");
    process.stop().await;
}

#[tokio::test]
async fn something_else_under_our_key_is_replaced_and_counting_goes_on() {
    let endpoints = shared_stack().endpoints();
    let process = Process::start(endpoints).await;
    let mut connection = redis(endpoints).await;
    for (command, value) in [
        ("LPUSH", "x"),
        ("SET", "not a number"),
        ("SET", "1e300"),
        ("SET", "-5"),
    ] {
        let key = fresh("odd");
        let name = format!("counterfoil:requests:{key}");
        redis::cmd(command)
            .arg(&name)
            .arg(value)
            .exec_async(&mut connection)
            .await
            .unwrap();
        let passed = process.passed_of_six(&key).await;
        // A time far ahead counts as a burst that is used up, no longer: one that is no time counts as none.
        let expected = if value == "1e300" { 0 } else { 3 };
        assert_eq!(passed, expected, "{command} {value}");
    }
    assert_eq!(process.health().0, Health::Ok);
    process.stop().await;
}

#[tokio::test]
async fn counters_and_answers_leave_redis_by_themselves() {
    let endpoints = shared_stack().endpoints();
    let process = Process::start(endpoints).await;
    let (key, answer) = (fresh("ttl"), answer_key(&fresh("ttl")));
    process.limiter.count(&key, slow()).await;
    process.answers.keep(&answer, Bytes::from_static(b"{}")).await;
    let mut connection = redis(endpoints).await;
    let names: Vec<String> = redis::cmd("KEYS")
        .arg("counterfoil:*")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(names.contains(&format!("counterfoil:requests:{key}")));
    for name in names {
        let left_s: i64 = redis::cmd("TTL")
            .arg(&name)
            .query_async(&mut connection)
            .await
            .unwrap();
        // -2: gone in between; -1 would be for ever.
        assert!(left_s != -1 && left_s <= 24 * 3600, "{name} {left_s}");
    }
    process.stop().await;
}

#[tokio::test]
async fn an_answer_is_found_again_by_another_process_under_its_own_key_only() {
    let endpoints = shared_stack().endpoints();
    let (one, two) = (Process::start(endpoints).await, Process::start(endpoints).await);
    let tenant = TenantId::generate();
    let key = AnswerKey::of(tenant, "agent:1", "POST /x", "k");
    one.answers.keep(&key, Bytes::from_static(b"\x00first")).await;
    assert_eq!(two.answers.find(&key).await.unwrap(), b"\x00first"[..]);
    for other in [
        AnswerKey::of(TenantId::generate(), "agent:1", "POST /x", "k"),
        AnswerKey::of(tenant, "agent:2", "POST /x", "k"),
        AnswerKey::of(tenant, "agent:1", "POST /xk", ""),
    ] {
        assert_eq!(two.answers.find(&other).await, None);
    }
    let large = Bytes::from(vec![b'x'; (1 << 20) + 1]);
    let key = answer_key("large");
    one.answers.keep(&key, large).await;
    assert_eq!(one.answers.find(&key).await, None, "larger than is kept");
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn without_redis_memory_counts_and_keeps_and_says_so() {
    let process = Process::with(&RedisConfig::default());
    assert_eq!(process.health().0, Health::Degraded);
    assert!(process.health().1.contains("redis.url"));
    assert_eq!(process.passed_of_six("key").await, 3);
    let key = answer_key("k");
    process.answers.keep(&key, Bytes::from_static(b"a")).await;
    assert_eq!(process.answers.find(&key).await.unwrap(), b"a"[..]);
    process.stop().await;
}

#[tokio::test]
async fn killed_stopped_full_or_evicting_redis_is_named_and_comes_back_by_itself() {
    let dir = TempDir::new();
    let stack = Stack::start(StackConfig::new(dir.path().join("data")))
        .await
        .unwrap();
    let endpoints = stack.endpoints();
    let process = Process::start(endpoints).await;

    stack.halt(ServerKind::Redis).await.unwrap();
    assert_eq!(process.passed_of_six(&fresh("halted")).await, 3, "memory counts");
    process.until(Health::Degraded).await;
    let key = answer_key("halted");
    process.answers.keep(&key, Bytes::from_static(b"a")).await;
    stack.resume(ServerKind::Redis).await.unwrap();
    process.until(Health::Ok).await;
    assert_eq!(
        process.answers.find(&key).await.unwrap(),
        b"a"[..],
        "kept while Redis was away"
    );

    stack.kill9(ServerKind::Redis).await.unwrap();
    assert_eq!(process.passed_of_six(&fresh("killed")).await, 3);
    stack.running(ServerKind::Redis).await.unwrap();
    process.until(Health::Ok).await;

    stack.signal(ServerKind::Redis, Signal::SIGSTOP).await.unwrap();
    assert_eq!(process.passed_of_six(&fresh("hangs")).await, 3);
    process.until(Health::Degraded).await;
    stack.signal(ServerKind::Redis, Signal::SIGCONT).await.unwrap();
    process.until(Health::Ok).await;

    set_config(endpoints, "maxmemory-policy", "noeviction").await;
    let used_bytes = used_memory(endpoints).await;
    set_config(endpoints, "maxmemory", &(used_bytes + used_bytes / 2).to_string()).await;
    process.until_reason("more than half full").await;
    let key = answer_key("half full");
    process.answers.keep(&key, Bytes::from_static(b"a")).await;
    assert_eq!(
        process.answers.find(&key).await,
        None,
        "room is left for counters"
    );
    assert_eq!(process.passed_of_six(&fresh("half full")).await, 3);
    set_config(endpoints, "maxmemory", "0").await;
    process.until(Health::Ok).await;

    set_config(endpoints, "maxmemory", "1").await;
    let key = answer_key("full");
    process.answers.keep(&key, Bytes::from_static(b"a")).await;
    assert_eq!(
        process.answers.find(&key).await,
        None,
        "not kept, and no connection lost"
    );
    assert_eq!(
        process.passed_of_six(&fresh("full")).await,
        3,
        "Redis takes no writes"
    );
    process.until_reason("'maxmemory'").await;
    set_config(endpoints, "maxmemory", "0").await;
    process.until(Health::Ok).await;

    set_config(endpoints, "maxmemory", "100mb").await;
    set_config(endpoints, "maxmemory-policy", "allkeys-lru").await;
    process.until(Health::Degraded).await;
    assert!(
        process.health().1.contains("allkeys-lru"),
        "{:?}",
        process.health()
    );

    process.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_of_ours_addresses_are_the_clients_and_of_anybody_else_nothing_is_believed() {
    let limits = "limits.refused_credentials_per_minute = 1\nlimits.burst_refused_credentials = 2\n";
    let proxied = format!("http.trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n{limits}");
    let refused = async |server: &Served, forwarded: &str| {
        let request = reqwest::Client::new().get(format!("{}/v1/organisations", server.url));
        let request = request.bearer_auth("wrong").header("x-forwarded-for", forwarded);
        Reply::of(request).await.status
    };
    let installation = Installation::with(&proxied).await;
    let server = installation.serve().await;
    for client in ["198.51.100.1", "198.51.100.2, 10.0.0.7", "2001:db8::1"] {
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(refused(&server, client).await);
        }
        assert_eq!(statuses, [401, 401, 429], "{client}");
    }
    // What a client invents in front of its address changes nothing.
    assert_eq!(refused(&server, "192.0.2.99, 198.51.100.1").await, 429);
    server.stop().await;
    // Straight from whoever asks, it is worth nothing.
    let installation = Installation::with(limits).await;
    let server = installation.serve().await;
    let mut statuses = Vec::new();
    for n in 0..3 {
        statuses.push(refused(&server, &format!("198.51.100.{n}")).await);
    }
    assert_eq!(statuses, [401, 401, 429]);
    server.stop().await;
}
