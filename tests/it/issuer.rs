//! Users who sign in elsewhere: real issuers on this machine, the real server, and everything that somebody could try
//! with a token.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil_events::ids::TenantId;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection};

use crate::support::installation::Installation;
use crate::support::issuer::{ALLOWED, AUDIENCE, SigningKey, TestIssuer, ask_as, enrol, grant, until};
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::{World, agent_card};

async fn get(server: &Served, token: &str, path: &str) -> Reply {
    ask_as(server, token, Method::GET, path, &Value::Null).await
}

/// An organisation with its home tenant.
async fn organisation(server: &Served) -> (String, TenantId) {
    let body = json!({"kind": "company", "name": "Example"});
    let made = server.post("/v1/organisations", &body).await.good();
    let home = made["home_tenant"].as_str().unwrap().parse().unwrap();
    (made["id"].as_str().unwrap().to_owned(), home)
}

/// What a caller can tell two answers apart by, but for the request's id.
fn seen(reply: &Reply) -> (u16, Vec<(String, String)>, Value) {
    let mut body = reply.json();
    for member in ["instance", "request_id"] {
        body.as_object_mut().unwrap().remove(member);
    }
    let told = |name: &str| !["x-request-id", "date"].contains(&name);
    let headers = reply.headers.iter().filter(|(name, _)| told(name.as_str()));
    let mut headers: Vec<_> = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (reply.status, headers, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_elsewhere_and_who_it_is_there_is_nowhere_here() {
    let installation = Installation::with(ALLOWED).await;
    let (here, there) = (installation.serve().await, installation.serve().await);
    let issuer = TestIssuer::start().await;
    let id = issuer.configure(&here, "/v1/platform", None).await;
    let world = World::new(&here, &["demo"]).await;
    let subject = format!("canary{}", uuid::Uuid::now_v7().simple());
    let (anna, link) = enrol(&here, &id, &subject).await;
    let agents = world.path("/agents");
    let token = issuer.token(&subject);
    until(404, "known, and without a role", async || {
        get(&there, &token, &agents).await
    })
    .await;
    grant(&here, &world.path(""), &anna, "developer").await;
    until(200, "with a role", async || get(&there, &token, &agents).await).await;
    let card = agent_card("hers", &["demo"]);
    let made = ask_as(&there, &token, Method::POST, &agents, &card).await;
    made.good();
    let log = here.get(&world.path("/events")).await;
    assert!(
        log.text.contains(&anna),
        "she stands in the log as her id: {}",
        log.text
    );

    // One subject is one user.
    let other = here.post("/v1/users", &json!({"kind": "person"})).await.good();
    let path = format!("/v1/users/{}/subjects", other["id"].as_str().unwrap());
    let twice = here.post(&path, &json!({"issuer": id, "subject": subject})).await;
    assert_eq!(
        (twice.status, twice.json()["code"].as_str()),
        (409, Some("subject_already_linked"))
    );
    // Nobody else gets a token of hers; a service's is given.
    let refused = here.post(&format!("/v1/users/{anna}/tokens"), &Value::Null).await;
    assert_eq!(refused.json()["code"], "user_signs_in_elsewhere");
    let service = here.post("/v1/users", &json!({"kind": "service"})).await.good();
    let service = service["id"].as_str().unwrap();
    here.post(&format!("/v1/users/{service}/tokens"), &Value::Null)
        .await
        .good();
    let linked = json!({"issuer": id, "subject": "robot"});
    let refused = here.post(&format!("/v1/users/{service}/subjects"), &linked).await;
    assert_eq!(refused.json()["code"], "user_is_a_service");

    // The subject is in no table, no answer, and no line of a log.
    let platform = here
        .get("/v1/tenants/00000000-0000-0000-0000-000000000000/events?limit=500")
        .await;
    assert!(platform.text.contains("SubjectLinked"), "{}", platform.text);
    let mut database = installation.admin().connect().await.unwrap();
    let rows: Vec<String> = sqlx::query_scalar("SELECT row_to_json(s)::text FROM counterfoil.subjects s")
        .fetch_all(&mut database)
        .await
        .unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let encoded = hex::encode(&subject);
    for text in [platform.text, here.log(), rows.join("\n")] {
        assert!(!text.contains(&subject) && !text.contains(&encoded), "{text}");
    }

    // Suspended she is nobody; unlinked too, and nothing is left of who she was.
    let why = json!({"reason": "left"});
    here.post(&format!("/v1/users/{anna}/suspend"), &why).await.good();
    until(401, "suspended", async || get(&there, &token, &agents).await).await;
    here.post(&format!("/v1/users/{anna}/resume"), &Value::Null)
        .await
        .good();
    until(200, "resumed", async || get(&there, &token, &agents).await).await;
    here.post(&format!("/v1/users/{anna}/subjects/{link}/unlink"), &why)
        .await
        .good();
    until(401, "unlinked", async || get(&there, &token, &agents).await).await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM counterfoil.subjects")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert_eq!(left, 0);
    // She may be linked again, as somebody else as well.
    let again = json!({"issuer": id, "subject": subject});
    here.post(&path, &again).await.good();
    database.close().await.unwrap();
    here.stop().await;
    there.stop().await;
}

/// Everything that may be wrong with a token, and the token.
fn attacks(issuer: &TestIssuer, other: &TestIssuer) -> Vec<(&'static str, String)> {
    let claims = |changes: Value| {
        let mut claims = issuer.claims("anna");
        for (name, change) in changes.as_object().unwrap() {
            match change.is_null() {
                true => drop(claims.as_object_mut().unwrap().remove(name)),
                false => claims[name] = change.clone(),
            }
        }
        claims
    };
    let signed = |changes: Value| issuer.key.sign(&claims(changes));
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = json!({"alg": "none", "typ": "JWT", "kid": issuer.key.kid});
    let by_public_key = {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(issuer.key.kid.clone());
        let secret = EncodingKey::from_secret(issuer.key.jwk.to_string().as_bytes());
        jsonwebtoken::encode(&header, &issuer.claims("anna"), &secret).unwrap()
    };
    let good = issuer.token("anna");
    let stranger = SigningKey::new(&issuer.key.kid);
    vec![
        (
            "alg none",
            format!("{}.{}.", text(&none), text(&issuer.claims("anna"))),
        ),
        ("HS256 by the public key", by_public_key),
        (
            "a key of no issuer under a known name",
            stranger.sign(&issuer.claims("anna")),
        ),
        (
            "an unknown key",
            SigningKey::new("unknown").sign(&issuer.claims("anna")),
        ),
        ("another issuer's key", other.key.sign(&issuer.claims("anna"))),
        ("another issuer's token", other.token("anna")),
        ("a changed signature", format!("{}AAAA", &good[..good.len() - 4])),
        ("expired", signed(json!({"exp": 1_700_000_000}))),
        (
            "of the future",
            signed(json!({"nbf": 4_000_000_000_u64, "exp": 4_000_000_600_u64})),
        ),
        ("endless", signed(json!({"exp": 4_000_000_000_u64}))),
        ("no exp", signed(json!({"exp": null}))),
        ("no nbf", signed(json!({"nbf": null}))),
        ("no sub", signed(json!({"sub": null}))),
        ("no iss", signed(json!({"iss": null}))),
        ("no aud", signed(json!({"aud": null}))),
        ("another aud", signed(json!({"aud": "others"}))),
        ("another iss", signed(json!({"iss": "https://login.example"}))),
        (
            "an iss with a slash more",
            signed(json!({"iss": format!("{}/", issuer.url())})),
        ),
        ("one factor", signed(json!({"amr": ["pwd"]}))),
        ("no factor", signed(json!({"amr": null}))),
        ("a subject that nobody is", signed(json!({"sub": "nobody"}))),
        (
            "a subject that is too long",
            signed(json!({"sub": "a".repeat(256)})),
        ),
        ("a subject that is empty", signed(json!({"sub": ""}))),
        (
            "a token that is too long",
            signed(json!({"padding": "a".repeat(5000)})),
        ),
        ("not a token", "a.b.c".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_token_the_answer_is_the_same() {
    let installation = Installation::with(ALLOWED).await;
    let server = installation.serve().await;
    let (issuer, other) = (TestIssuer::start().await, TestIssuer::start().await);
    let world = World::new(&server, &["demo"]).await;
    let id = issuer.configure(&server, "/v1/platform", None).await;
    // The other one is an organisation's, and nobody is linked there.
    let (theirs, _) = organisation(&server).await;
    other
        .configure(&server, &format!("/v1/organisations/{theirs}"), None)
        .await;
    let (anna, _) = enrol(&server, &id, "anna").await;
    grant(&server, &world.path(""), &anna, "developer").await;
    let path = world.path("/agents");
    until(200, "the good one", async || {
        get(&server, &issuer.token("anna"), &path).await
    })
    .await;
    let nobody = seen(&get(&server, "cfu_nobody", &path).await);
    assert_eq!(nobody.0, 401);
    for (what, token) in attacks(&issuer, &other) {
        let reply = get(&server, &token, &path).await;
        assert_eq!(seen(&reply), nobody, "{what}");
    }
    // Whoever configures the same URL elsewhere, with another audience that her tokens name, locks nobody out.
    let second = json!({"url": issuer.url(), "audience": "second"});
    let place = format!("/v1/organisations/{theirs}/issuers");
    server.post(&place, &second).await.good();
    let both = issuer.token_with("anna", &json!({"aud": [AUDIENCE, "second"]}));
    for _ in 0..20 {
        assert_eq!(get(&server, &both, &path).await.status, 200);
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    let alone = issuer.token_with("anna", &json!({"aud": [AUDIENCE, "elsewhere"]}));
    assert_eq!(get(&server, &alone, &path).await.status, 200);
    // Suspended, the issuer vouches for nobody.
    let why = json!({"reason": "compromised"});
    let suspend = format!("/v1/platform/issuers/{id}/suspend");
    server.post(&suspend, &why).await.good();
    let token = issuer.token("anna");
    until(401, "a suspended issuer", async || {
        get(&server, &token, &path).await
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisations_issuer_reaches_no_further_than_the_organisation() {
    let installation = Installation::with(ALLOWED).await;
    let server = installation.serve().await;
    let issuer = TestIssuer::start().await;
    let ((ours, home), (_, foreign)) = (organisation(&server).await, organisation(&server).await);
    let place = format!("/v1/organisations/{ours}");
    let id = issuer.configure(&server, &place, Some("tenant")).await;
    let made = server
        .post(&format!("{place}/tenants"), &json!({"name": "Second"}))
        .await
        .good();
    let second = made["id"].as_str().unwrap().to_owned();
    let (anna, _) = enrol(&server, &id, "anna").await;
    grant(&server, &place, &anna, "organisation_admin").await;
    grant(&server, "/v1/platform", &anna, "platform_admin").await;
    grant(&server, &format!("/v1/tenants/{foreign}"), &anna, "tenant_admin").await;
    let members = |tenant: &dyn std::fmt::Display| format!("/v1/tenants/{tenant}/members");
    let token = issuer.token("anna");
    until(200, "at home", async || {
        get(&server, &token, &members(&home)).await
    })
    .await;
    assert_eq!(get(&server, &token, &members(&second)).await.status, 200);
    // What she holds elsewhere does not count by this issuer: as if it did not exist.
    let (theirs, missing) = (
        get(&server, &token, &members(&foreign)).await,
        get(&server, &token, &members(&TenantId::generate())).await,
    );
    assert_eq!(theirs.problem(), "not-found");
    assert_eq!(seen(&theirs), seen(&missing));
    for (method, path, body) in [
        (Method::POST, "/v1/users".to_owned(), json!({"kind": "person"})),
        (Method::POST, format!("/v1/users/{anna}/tokens"), Value::Null),
        (Method::GET, "/v1/platform/members".to_owned(), Value::Null),
    ] {
        let reply = ask_as(&server, &token, method, &path, &body).await;
        assert_eq!(reply.problem(), "forbidden", "{path}");
    }
    // The claim binds a token to one tenant of the organisation.
    let bound = issuer.token_with("anna", &json!({"tenant": second}));
    assert_eq!(get(&server, &bound, &members(&second)).await.status, 200);
    for hidden in [members(&home), format!("{place}/members")] {
        assert_eq!(
            get(&server, &bound, &hidden).await.problem(),
            "not-found",
            "{hidden}"
        );
    }
    // One that is another's, or no tenant at all, is refused as any token is.
    let nobody = seen(&get(&server, "cfu_nobody", &members(&home)).await);
    for claim in [
        json!(foreign),
        json!(TenantId::generate()),
        json!(TenantId::PLATFORM),
        json!("x"),
        json!(7),
    ] {
        let token = issuer.token_with("anna", &json!({"tenant": claim}));
        assert_eq!(
            seen(&get(&server, &token, &members(&home)).await),
            nobody,
            "{claim}"
        );
    }
    // An absent or empty one leaves it to the roles.
    let open = issuer.token_with("anna", &json!({"tenant": null}));
    assert_eq!(get(&server, &open, &members(&home)).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_configured_once_where_it_belongs_and_nobody_elses_is_found() {
    let installation = Installation::with(ALLOWED).await;
    let server = installation.serve().await;
    let ((ours, _), (theirs, _)) = (organisation(&server).await, organisation(&server).await);
    let issuers = |organisation: &str| format!("/v1/organisations/{organisation}/issuers");
    let body = json!({"url": "https://login.example/t", "audience": "x", "tenant_claim": "tenant"});
    let made = server.post(&issuers(&theirs), &body).await;
    let id = made.good()["id"].as_str().unwrap().to_owned();
    let again = server.post(&issuers(&ours), &body).await;
    assert_eq!(
        (again.status, again.json()["code"].as_str()),
        (409, Some("issuer_already_exists"))
    );
    let at_the_platform =
        json!({"url": "https://login.example/p", "audience": "x", "tenant_claim": "tenant"});
    assert_eq!(
        server.post("/v1/platform/issuers", &at_the_platform).await.status,
        422
    );
    for url in [
        "http://login.example",
        "https://10.0.0.1",
        "https://169.254.169.254",
        "http://localhost:1",
        "https://0x7f.1",
    ] {
        let refused = server
            .post(&issuers(&ours), &json!({"url": url, "audience": "x"}))
            .await;
        assert_eq!(refused.status, 422, "{url}: {}", refused.text);
    }
    for url in [
        "ftp://login.example",
        "https://a@login.example",
        "https://login.example?x=1",
    ] {
        let refused = server
            .post(&issuers(&ours), &json!({"url": url, "audience": "x"}))
            .await;
        assert_eq!(refused.status, 400, "{url}: {}", refused.text);
    }
    // By its own id under another's path it is one that does not exist.
    let missing = uuid::Uuid::now_v7().to_string();
    for (method, rest, body) in [
        (Method::PATCH, "", json!({"tenant_claim": null})),
        (Method::POST, "/suspend", json!({"reason": "x"})),
        (Method::POST, "/resume", Value::Null),
    ] {
        let ask = async |id: &str| {
            let path = format!("{}/{id}{rest}", issuers(&ours));
            let request = server.request(method.clone(), &path);
            let reply = Reply::of(if body.is_null() {
                request
            } else {
                request.json(&body)
            })
            .await;
            (
                reply.status,
                reply
                    .text
                    .replace(id, "ID")
                    .replace(reply.header("x-request-id"), "REQUEST"),
            )
        };
        let (foreign, nobodys) = (ask(&id).await, ask(&missing).await);
        assert_eq!(foreign.0, 404, "{rest}: {}", foreign.1);
        assert_eq!(foreign, nobodys, "{rest}");
    }
    let listed = until(200, "the list", async || server.get(&issuers(&theirs)).await).await;
    assert_eq!(listed.json()["items"][0]["id"], id.as_str(), "{}", listed.text);
    assert_eq!(server.get(&issuers(&ours)).await.json()["items"], json!([]));
    let changed = server.request(Method::PATCH, &format!("{}/{id}", issuers(&theirs)));
    Reply::of(changed.json(&json!({"tenant_claim": null})))
        .await
        .good();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_has_eight_issuers_at_the_most() {
    let installation = Installation::with(ALLOWED).await;
    let server = installation.serve().await;
    let (ours, _) = organisation(&server).await;
    let path = format!("/v1/organisations/{ours}/issuers");
    let configure = async |number: usize| {
        let body = json!({"url": format!("https://login.example/{number}"), "audience": "x"});
        server.post(&path, &body).await
    };
    for number in 0..8 {
        configure(number).await.good();
    }
    let ninth = configure(8).await;
    assert_eq!(
        (ninth.status, &ninth.json()["code"]),
        (409, &json!("issuer_too_many"))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_an_issuer_that_is_away_is_not_the_tokens_fault() {
    let installation = Installation::with(ALLOWED).await;
    let server = installation.serve().await;
    let mut issuer = TestIssuer::start().await;
    let id = issuer.configure(&server, "/v1/platform", None).await;
    let (anna, _) = enrol(&server, &id, "anna").await;
    grant(&server, "/v1/platform", &anna, "platform_auditor").await;
    let path = "/v1/platform/members";
    let before = issuer.token("anna");
    until(200, "the first key", async || get(&server, &before, path).await).await;
    // A crowd of forged names asks the issuer for nothing more than one time in ten seconds.
    let asked = issuer.asked();
    for number in 0..20 {
        let forged = SigningKey::new(&format!("forged{number}")).sign(&issuer.claims("anna"));
        assert_eq!(get(&server, &forged, path).await.status, 401);
    }
    assert!(
        issuer.asked() <= asked + 4,
        "{} questions",
        issuer.asked() - asked
    );
    issuer.rotate("two");
    let after = issuer.token("anna");
    until(200, "the next key", async || get(&server, &after, path).await).await;
    assert_eq!(
        get(&server, &before, path).await.status,
        401,
        "the key before is over"
    );
    // Away: what is known goes on; a process that knows nothing yet cannot tell, and says so.
    issuer.away(true);
    assert_eq!(get(&server, &after, path).await.status, 200);
    let newcomer = installation.serve().await;
    let unknown = get(&newcomer, &after, path).await;
    assert_eq!(unknown.status, 503, "{}", unknown.text);
    issuer.away(false);
    until(200, "back", async || get(&newcomer, &after, path).await).await;
    server.stop().await;
    newcomer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_changed_beside_the_log_lets_nobody_in() {
    let installation = Installation::with(ALLOWED).await;
    let server = installation.serve().await;
    let issuer = TestIssuer::start().await;
    let id = issuer.configure(&server, "/v1/platform", None).await;
    let (anna, _) = enrol(&server, &id, "anna").await;
    let (mallory, _) = enrol(&server, &id, "mallory").await;
    grant(&server, "/v1/platform", &anna, "platform_auditor").await;
    let path = "/v1/platform/members";
    until(200, "anna", async || {
        get(&server, &issuer.token("anna"), path).await
    })
    .await;
    server.stop().await;
    // Mallory's subject in the place of Anna's.
    let mut database = installation.admin().connect().await.unwrap();
    for statement in [
        "UPDATE counterfoil.subjects SET hash = (SELECT hash FROM counterfoil.subjects WHERE user_id = $2), \
         tenant_id = gen_random_uuid() WHERE user_id = $1",
        "DELETE FROM counterfoil.subjects WHERE user_id = $2 AND $1 <> $2",
        "UPDATE counterfoil.subjects SET tenant_id = '00000000-0000-0000-0000-000000000000' \
         WHERE user_id = $1 AND $1 <> $2",
    ] {
        sqlx::query(statement)
            .bind(anna.parse::<uuid::Uuid>().unwrap())
            .bind(mallory.parse::<uuid::Uuid>().unwrap())
            .execute(&mut database)
            .await
            .unwrap();
    }
    database.close().await.unwrap();
    let server = installation.serve().await;
    for subject in ["anna", "mallory"] {
        assert_eq!(
            get(&server, &issuer.token(subject), path).await.status,
            401,
            "{subject}"
        );
    }
    assert!(server.log().contains("a subject's row is not what the log says"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_issuer_signs_people_in_and_says_that_it_is_on() {
    let secret = "a-secret-of-the-local-issuer-for-tests";
    let more = format!("[auth.local_issuer]\naddress = \"127.0.0.1:0\"\nsecret = \"{secret}\"\n");
    let installation = Installation::with(&more).await;
    let server = installation.serve().await;
    let (_, ready) = server.ready().await;
    let component = &ready["components"]["local_issuer"];
    assert_eq!(
        (component["health"].as_str(), ready["health"].as_str()),
        (Some("degraded"), Some("degraded"))
    );
    let said = component["reason"].as_str().unwrap();
    let url = said
        .split_whitespace()
        .find_map(|word| word.strip_suffix(':').filter(|w| w.starts_with("http")));
    let url = url.unwrap().to_owned();
    assert!(server.log().contains("a local issuer is on"));
    let client = reqwest::Client::new();
    let mint = async |secret: &str| {
        let body = json!({"client_secret": secret, "audience": "x", "subject": "anna"});
        Reply::of(client.post(format!("{url}/token")).json(&body)).await
    };
    assert_eq!(mint("another-secret-of-at-least-32-characters").await.status, 401);
    let token = mint(secret).await.good()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let made = server
        .post("/v1/platform/issuers", &json!({"url": url, "audience": "x"}))
        .await
        .good();
    let (anna, _) = enrol(&server, made["id"].as_str().unwrap(), "anna").await;
    grant(&server, "/v1/platform", &anna, "platform_auditor").await;
    until(200, "anna", async || {
        get(&server, &token, "/v1/platform/members").await
    })
    .await;
    let one_factor = json!({"client_secret": secret, "audience": "x", "subject": "anna", "mfa": false});
    let weak = Reply::of(client.post(format!("{url}/token")).json(&one_factor))
        .await
        .good();
    let weak = weak["access_token"].as_str().unwrap();
    assert_eq!(get(&server, weak, "/v1/platform/members").await.status, 401);
    server.stop().await;
}
