//! An issuer that a test is master of: it serves its description and keys on this machine, signs whatever it is told to,
//! rotates, and goes away.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::reply::Reply;
use super::served::Served;

/// How long another process may take to follow the log, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
pub const AUDIENCE: &str = "counterfoil-tests";
/// The end of a configuration that lets this machine's issuers be fetched, and tokens be refused without end: tests ask
/// until another process has followed the log.
pub const ALLOWED: &str =
    "[limits]\nrefused_credentials_per_minute = 0\n[auth.issuers]\nallow_private = [\"127.0.0.0/8\"]\n";

/// One key, and how it is published.
pub struct SigningKey {
    pub kid: String,
    pub key: EncodingKey,
    pub jwk: Value,
}

impl SigningKey {
    pub fn new(kid: &str) -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let key = EncodingKey::from_ec_der(pkcs8.unwrap().as_ref());
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap()).unwrap();
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        Self {
            kid: kid.to_owned(),
            key,
            jwk,
        }
    }

    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

#[derive(Default)]
struct Published {
    keys: Vec<Value>,
    away: bool,
    asked: usize,
}

pub struct TestIssuer {
    server: MockServer,
    published: Arc<Mutex<Published>>,
    pub key: SigningKey,
}

impl TestIssuer {
    pub async fn start() -> Self {
        let (server, published) = (
            MockServer::start().await,
            Arc::new(Mutex::new(Published::default())),
        );
        let (url, shared) = (server.uri(), Arc::clone(&published));
        let answer = move |request: &Request| {
            let mut published = shared.lock().unwrap();
            published.asked += 1;
            if published.away {
                return ResponseTemplate::new(503);
            }
            match request.url.path() {
                "/.well-known/openid-configuration" => ResponseTemplate::new(200)
                    .set_body_json(json!({"issuer": url, "jwks_uri": format!("{url}/jwks")})),
                "/jwks" => ResponseTemplate::new(200).set_body_json(json!({"keys": published.keys})),
                _ => ResponseTemplate::new(404),
            }
        };
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let mut issuer = Self {
            server,
            published,
            key: SigningKey::new("first"),
        };
        issuer.rotate("one");
        issuer
    }

    pub fn url(&self) -> String {
        self.server.uri()
    }

    /// Signs by another key from now on, and publishes no other.
    pub fn rotate(&mut self, kid: &str) {
        self.key = SigningKey::new(kid);
        self.published.lock().unwrap().keys = vec![self.key.jwk.clone()];
    }

    pub fn away(&self, away: bool) {
        self.published.lock().unwrap().away = away;
    }

    /// How often it was asked for anything.
    pub fn asked(&self) -> usize {
        self.published.lock().unwrap().asked
    }

    /// What a good token of `subject` says.
    pub fn claims(&self, subject: &str) -> Value {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        json!({"iss": self.url(), "aud": AUDIENCE, "sub": subject, "nbf": now - 5, "exp": now + 600,
               "amr": ["pwd", "mfa"]})
    }

    pub fn token(&self, subject: &str) -> String {
        self.key.sign(&self.claims(subject))
    }

    /// A good token with further claims.
    pub fn token_with(&self, subject: &str, more: &Value) -> String {
        let mut claims = self.claims(subject);
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.key.sign(&claims)
    }

    /// Configures it at a place such as `/v1/platform`; its id.
    pub async fn configure(&self, server: &Served, place: &str, tenant_claim: Option<&str>) -> String {
        let body = json!({"url": self.url(), "audience": AUDIENCE, "tenant_claim": tenant_claim});
        let made = server.post(&format!("{place}/issuers"), &body).await.good();
        made["id"].as_str().unwrap().to_owned()
    }
}

/// A new person who signs in as `subject` at an issuer; its id, and the link's.
pub async fn enrol(server: &Served, issuer: &str, subject: &str) -> (String, String) {
    let made = server.post("/v1/users", &json!({"kind": "person"})).await.good();
    let user = made["id"].as_str().unwrap().to_owned();
    let body = json!({"issuer": issuer, "subject": subject});
    let linked = server
        .post(&format!("/v1/users/{user}/subjects"), &body)
        .await
        .good();
    (user, linked["link"].as_str().unwrap().to_owned())
}

/// Gives a role at a place.
pub async fn grant(server: &Served, place: &str, user: &str, role: &str) {
    let path = format!("{place}/members/{user}/roles/{role}");
    Reply::of(server.request(Method::PUT, &path)).await.good();
}

/// A request by whoever has this credential.
pub async fn ask_as(server: &Served, credential: &str, method: Method, path: &str, body: &Value) -> Reply {
    let request = reqwest::Client::new().request(method, format!("{}{path}", server.url));
    let request = request.bearer_auth(credential);
    Reply::of(match body.is_null() {
        true => request,
        false => request.json(body),
    })
    .await
}

/// Asks until the answer has this status.
pub async fn until(status: u16, what: &str, ask: impl AsyncFn() -> Reply) -> Reply {
    let began = Instant::now();
    loop {
        let reply = ask().await;
        if reply.status == status {
            return reply;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{what}: still {} {}",
            reply.status,
            reply.text
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
