//! Sessions of people at a browser, over two processes, the real Postgres and the real Redis.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use sqlx::ConnectOptions;

use crate::support::browser::Browser;
use crate::support::installation::Installation;
use crate::support::person::{Person, until};
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::{World, agent_card};

struct Scene {
    installation: Installation,
    here: Served,
    there: Served,
    world: World,
    person: Person,
}

impl Scene {
    async fn new() -> Self {
        let installation = Installation::new().await;
        let (here, there) = (installation.serve().await, installation.serve().await);
        let world = World::new(&here, &["demo"]).await;
        let person = Person::with(&here, &world.path(""), "developer").await;
        Self {
            installation,
            here,
            there,
            world,
            person,
        }
    }

    fn agents(&self) -> String {
        self.world.path("/agents")
    }

    /// Signed in, and known to both processes.
    async fn browser(&self) -> Browser {
        let browser = Browser::sign_in(&self.here, &self.person.token).await;
        for server in [&self.here, &self.there] {
            until(200, "it is known", async || {
                browser.get(server, &self.agents()).await
            })
            .await;
        }
        browser
    }

    /// Every trace of when this session was last used, moved so far back.
    async fn lie_idle(&self, browser: &Browser, seconds: i64) {
        let mut admin = self.installation.admin().connect().await.unwrap();
        let back = "UPDATE counterfoil.sessions SET last_used_at = last_used_at - make_interval(secs => $2) WHERE session_id = $1";
        let moved = sqlx::query(back)
            .bind(browser.session.parse::<uuid::Uuid>().unwrap())
            .bind(seconds as f64)
            .execute(&mut admin)
            .await
            .unwrap();
        assert_eq!(moved.rows_affected(), 1);
        let redis = &self.installation.config.redis;
        let url = secrecy::ExposeSecret::expose_secret(redis.url.as_ref().unwrap());
        let client = redis::Client::open(url).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(format!("*{}*", browser.session))
            .query_async(&mut connection)
            .await
            .unwrap();
        assert_eq!(keys.len(), 1, "it is cached: {keys:?}");
        redis::cmd("DEL")
            .arg(keys)
            .exec_async(&mut connection)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_user_on_every_process_and_each_sign_in_makes_another() {
    let scene = Scene::new().await;
    let (first, second) = (scene.browser().await, scene.browser().await);
    assert_ne!(first.cookie, second.cookie);
    assert_ne!(first.session, second.session);
    let made = second
        .post(
            &scene.there,
            &scene.agents(),
            &agent_card("by session", &["demo"]),
        )
        .await;
    made.good();
    // The roles of the moment: what its user may not, it may not.
    let members = second.get(&scene.here, &scene.world.path("/members")).await;
    assert_eq!(members.problem(), "forbidden");
    let current = second.get(&scene.there, "/v1/sessions/current").await.good();
    assert_eq!(current["session_id"], second.session);
    assert_eq!(
        current["csrf_token"], second.csrf,
        "a page that was loaded anew finds its token"
    );
    let listed = second.get(&scene.here, "/v1/sessions").await.good();
    let items: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["id"].clone(), item["current"].clone()))
        .collect();
    assert_eq!(
        items,
        [
            (json!(first.session), json!(false)),
            (json!(second.session), json!(true))
        ]
    );
    // Nothing that was kept opens it: neither database nor log holds what the cookie says.
    let secret = second.cookie.rsplit('_').next().unwrap();
    let mut admin = scene.installation.admin().connect().await.unwrap();
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT s::text FROM counterfoil.sessions s UNION ALL SELECT envelope FROM counterfoil.events",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert!(rows.len() > 5 && rows.iter().all(|row| !row.contains(secret)));
    assert!(!scene.here.log().contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_opens_no_other_and_is_opened_for_people_alone() {
    let scene = Scene::new().await;
    let browser = scene.browser().await;
    let again = browser.post(&scene.here, "/v1/sessions", &json!({})).await;
    assert_eq!(again.problem(), "forbidden");
    // Nor does the cookie's value work as a token, nor a token as a cookie.
    let value = browser.cookie.split_once('=').unwrap().1;
    let as_token = reqwest::Client::new().get(format!("{}{}", scene.here.url, scene.agents()));
    assert_eq!(Reply::of(as_token.bearer_auth(value)).await.status, 401);
    let mut forged = browser.clone();
    forged.cookie = format!("__Host-counterfoil_session={}", scene.person.token);
    assert_eq!(forged.get(&scene.here, &scene.agents()).await.status, 401);
    // A token that is shown counts, and a cookie beside it does not.
    let both = browser
        .bare(&scene.here, Method::GET, &scene.agents())
        .bearer_auth("cfu_wrong");
    assert_eq!(Reply::of(both).await.status, 401);
    for credential in ["bootstrap", "agent"] {
        let request = match credential {
            "agent" => {
                let request = reqwest::Client::new().post(format!("{}/v1/sessions", scene.here.url));
                request.bearer_auth(&scene.world.key)
            }
            _ => scene.here.request(Method::POST, "/v1/sessions"),
        };
        assert_eq!(Reply::of(request).await.problem(), "forbidden", "{credential}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_site_has_a_browser_send_is_refused() {
    let scene = Scene::new().await;
    let (browser, other) = (scene.browser().await, scene.browser().await);
    let card = agent_card("forged", &["demo"]);
    let (path, server) = (scene.agents(), &scene.here);
    let bare = || browser.bare(server, Method::POST, &path).json(&card);
    let own = |request: reqwest::RequestBuilder| request.header("origin", &server.url);
    let attempts = [
        ("nothing but the cookie", bare()),
        ("without the token", own(bare())),
        (
            "with another session's token",
            own(bare()).header("x-csrf-token", &other.csrf),
        ),
        (
            "from another site",
            bare()
                .header("origin", "https://evil.example")
                .header("x-csrf-token", &browser.csrf),
        ),
        (
            "from a sibling",
            own(bare())
                .header("sec-fetch-site", "same-site")
                .header("x-csrf-token", &browser.csrf),
        ),
        ("from nowhere", bare().header("x-csrf-token", &browser.csrf)),
    ];
    for (what, request) in attempts {
        let refused = Reply::of(request).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (403, &"cross_site".into()),
            "{what}"
        );
    }
    // A WebSocket is opened by any site that a browser is on; no other than ours gets one.
    let socket = |origin: &str| {
        browser
            .bare(server, Method::GET, &scene.world.path("/events"))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("origin", origin)
    };
    let refused = socket("https://evil.example").send().await.unwrap();
    assert_eq!(refused.status(), 403);
    browser.post(server, &path, &card).await.good();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_session_ends_it_on_every_process() {
    let scene = Scene::new().await;
    let [current, one, first, second] = [
        scene.browser().await,
        scene.browser().await,
        scene.browser().await,
        scene.browser().await,
    ];
    let gone = async |browser: &Browser| {
        for server in [&scene.here, &scene.there] {
            until(401, "it has ended", async || {
                browser.get(server, &scene.agents()).await
            })
            .await;
        }
    };
    let signed_out = Reply::of(current.request(&scene.here, Method::DELETE, "/v1/sessions/current")).await;
    signed_out.good();
    assert!(signed_out.header("set-cookie").contains("Max-Age=0"));
    gone(&current).await;
    // Another of one's own; somebody else's is missing, as any other is.
    let path = format!("/v1/sessions/{}", one.session);
    let stranger = Person::enrolled(&scene.here).await;
    let refused = Reply::of(stranger.request(&scene.here, Method::DELETE, &path)).await;
    assert_eq!(refused.json()["code"], "user_session_not_found");
    Reply::of(first.request(&scene.there, Method::DELETE, &path))
        .await
        .good();
    gone(&one).await;
    assert_eq!(first.get(&scene.here, &scene.agents()).await.status, 200);
    // All of them, by an administrator.
    let end = format!("/v1/users/{}/sessions/end", scene.person.id);
    let why = json!({"reason": "lost_laptop"});
    assert_eq!(first.post(&scene.here, &end, &why).await.problem(), "forbidden");
    scene.here.post(&end, &why).await.good();
    gone(&first).await;
    gone(&second).await;
    // The token by which they were opened is another matter.
    assert_eq!(scene.person.get(&scene.here, &scene.agents()).await.status, 200);
    // And a suspended user has none that works.
    let last = scene.browser().await;
    let suspend = format!("/v1/users/{}/suspend", scene.person.id);
    scene.here.post(&suspend, &why).await.good();
    gone(&last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_lies_idle_has_ended_and_its_use_is_shared_by_all_processes() {
    let scene = Scene::new().await;
    let (used, idle) = (scene.browser().await, scene.browser().await);
    // Half of the time: in use, which a third process, that has never seen it, finds in the row.
    scene.lie_idle(&used, 15 * 60).await;
    let third = scene.installation.serve().await;
    assert_eq!(used.get(&third, &scene.agents()).await.status, 200);
    // And has noted: so much later again it is still in use.
    scene.lie_idle(&used, 20 * 60).await;
    let fourth = scene.installation.serve().await;
    assert_eq!(used.get(&fourth, &scene.agents()).await.status, 200);
    scene.lie_idle(&idle, 31 * 60).await;
    assert_eq!(
        idle.get(&fourth, &scene.agents()).await.problem(),
        "unauthenticated"
    );
    // Without its row it has ended, too: as after a restore.
    scene.lie_idle(&used, 0).await;
    let mut admin = scene.installation.admin().connect().await.unwrap();
    sqlx::raw_sql("TRUNCATE counterfoil.sessions")
        .execute(&mut admin)
        .await
        .unwrap();
    let fifth = scene.installation.serve().await;
    scene.installation.good(&["audit", "verify"]).await;
    let refused = used.get(&fifth, &scene.agents()).await;
    assert_eq!(refused.problem(), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_a_page_left_open_ends_with_its_session() {
    let scene = Scene::new().await;
    let auditor = scene
        .world
        .path(&format!("/members/{}/roles/auditor", scene.person.id));
    Reply::of(scene.here.request(Method::PUT, &auditor)).await.good();
    let idle = scene.browser().await;
    let events = scene.world.path("/events");
    let stream = idle
        .bare(&scene.here, Method::GET, &events)
        .header("accept", "text/event-stream");
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), 200);
    scene.lie_idle(&idle, 31 * 60).await;
    let told = tokio::time::timeout(Duration::from_secs(60), stream.text());
    let told = told.await.expect("it ends by itself").unwrap();
    assert!(told.contains("credential_revoked"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_sessions_are_opened_used_and_ended_all_the_same() {
    let installation = Installation::with("").await;
    // An address where nobody answers.
    let dead = ("COUNTERFOIL_REDIS__URL", "redis://127.0.0.1:1/");
    let server = installation.try_serve(&[dead]).await.unwrap();
    server
        .until_ready("ready, and Redis is said to be away", |status, body| {
            status == 200 && body["components"]["redis"]["health"] == "degraded"
        })
        .await;
    let world = World::new(&server, &["demo"]).await;
    let person = Person::with(&server, &world.path(""), "developer").await;
    let browser = Browser::sign_in(&server, &person.token).await;
    let agents = world.path("/agents");
    until(200, "it is known", async || browser.get(&server, &agents).await).await;
    browser
        .post(&server, &agents, &agent_card("x", &["demo"]))
        .await
        .good();
    Reply::of(browser.request(&server, Method::DELETE, "/v1/sessions/current"))
        .await
        .good();
    until(401, "it has ended", async || browser.get(&server, &agents).await).await;
}
