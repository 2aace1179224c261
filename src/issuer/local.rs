//! An issuer of our own, for development and tests: so that signing in can be tried where there is no other.
//!
//! It is shaped as any issuer (OpenID Connect Discovery 1.0, RFC 7517): description, keys, and a token endpoint, which signs by ES256
//! whatever it is asked to by whoever knows its secret. So it proves nothing, and must not stand where anything counts:
//! it is off unless configured, serves this machine alone, and `/ready` and the log say all the while that it is on. Its key is
//! made at each start and is nowhere kept, so that its tokens end with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use counterfoil_events::timestamp::Timestamp;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::config::{HttpConfig, LocalIssuerConfig};
use crate::http::answer::{self, Answer};
use crate::http::problem;
use crate::http::table::TableError;
use crate::http::{
    Access, ApiError, Authenticators, BindError, Component, Dispatcher, Group, Json, Lifecycle, Request,
    Route, RouteTable, Server, State,
};

/// Longest that one of its tokens lives.
const LIFE_MAX_S: u32 = 3600;
/// How long one lives that was asked for without saying.
const LIFE_S: u32 = 900;
/// Most further claims of a token.
const CLAIMS_MAX: usize = 16;

/// It cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LocalIssuerError {
    /// Its address is taken.
    #[error("the local issuer: {0}")]
    Bind(#[from] BindError),
    /// A mistake in its routes.
    #[error(transparent)]
    Routes(#[from] TableError),
    /// Its key cannot be made.
    #[error("the local issuer's key cannot be made: {0}")]
    Key(String),
}

struct Issuer {
    url: OnceLock<String>,
    kid: String,
    key: EncodingKey,
    keys: JwkSet,
    secret: SecretString,
}

/// What a token shall say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MintToken {
    /// The secret of `auth.local_issuer`.
    #[schema(value_type = String)]
    client_secret: SecretString,
    /// For whom it is.
    audience: String,
    /// Who signs in.
    subject: String,
    /// Whether by a second factor; yes, without it.
    mfa: Option<bool>,
    /// How long it lives, up to an hour; 15 minutes without it.
    expires_in_s: Option<u32>,
    /// Further claims, such as the one that names a tenant.
    #[serde(default)]
    claims: BTreeMap<String, String>,
}

/// As RFC 6749 §5.1 has it.
#[derive(Serialize, ToSchema)]
struct Minted {
    access_token: String,
    token_type: &'static str,
    expires_in: u32,
}

/// Starts it; it ends when the lifecycle drains. Says where it listens.
///
/// # Errors
/// See [`LocalIssuerError`].
pub async fn start(
    config: &LocalIssuerConfig,
    lifecycle: &Lifecycle,
    component: &Component,
) -> Result<SocketAddr, LocalIssuerError> {
    let issuer = Arc::new(Issuer::new(config.secret.clone())?);
    let table = RouteTable::build(vec![Group::new(routes(&State::new(Arc::clone(&issuer))))])?;
    // Of its own, since the server ends when its lifecycle's tasks have, and it is a task of the other.
    let own = Lifecycle::new();
    let http = HttpConfig::default();
    let dispatcher = Dispatcher::new(
        table,
        Authenticators::default(),
        own.clone(),
        http.intake_limits(),
    );
    let server = Server::bind(config.address, http.server_limits(), dispatcher, own.clone()).await?;
    let address = server.address();
    let url = issuer.url.get_or_init(|| format!("http://{address}"));
    let said = format!(
        "a local issuer is on at {url}: whoever has its secret signs in as anyone; for development only"
    );
    tracing::warn!("{said}");
    component.degraded(said);
    let draining = lifecycle.draining().clone();
    lifecycle.spawn("local issuer", async move {
        let end = async {
            draining.cancelled().await;
            own.drain();
        };
        tokio::join!(server.run(), end);
    });
    Ok(address)
}

fn routes(issuer: &State<Arc<Issuer>>) -> Vec<Route> {
    vec![
        Route::get("/.well-known/openid-configuration", "Its description")
            .permission(Access::Public)
            .answers_as(200, "The OpenID provider's description", "application/json")
            .handle(issuer, description),
        Route::get("/keys", "The keys that sign its tokens")
            .permission(Access::Public)
            .answers_as(200, "The signing keys, as a JWK Set", "application/json")
            .handle(issuer, keys),
        Route::post("/token", "A token that says what it is asked to say")
            .permission(Access::Public)
            .answers::<Minted>(200, "A token")
            .handle(issuer, mint),
    ]
}

impl Issuer {
    fn new(secret: SecretString) -> Result<Self, LocalIssuerError> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new());
        let pkcs8 = pkcs8.map_err(|error| LocalIssuerError::Key(error.to_string()))?;
        let key = EncodingKey::from_ec_der(pkcs8.as_ref());
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256);
        let mut jwk = jwk.map_err(|error| LocalIssuerError::Key(error.to_string()))?;
        let kid = uuid::Uuid::new_v4().simple().to_string();
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self {
            url: OnceLock::new(),
            kid,
            key,
            keys: JwkSet { keys: vec![jwk] },
            secret,
        })
    }

    fn url(&self) -> Result<&str, ApiError> {
        let url = self.url.get().map(String::as_str);
        url.ok_or_else(|| problem::UNAVAILABLE.detail("it is starting"))
    }

    fn knows(&self, secret: &SecretString) -> bool {
        let hash = |secret: &SecretString| blake3::hash(secret.expose_secret().as_bytes());
        // `blake3::Hash` compares in constant time.
        hash(secret) == hash(&self.secret)
    }

    fn sign(&self, wanted: &MintToken, life_s: u32) -> Result<String, ApiError> {
        let now_s = Timestamp::now().as_micros() / 1_000_000;
        let mut claims: BTreeMap<&str, Value> = wanted
            .claims
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().into()))
            .collect();
        claims.extend([
            ("iss", self.url()?.into()),
            ("aud", wanted.audience.as_str().into()),
            ("sub", wanted.subject.as_str().into()),
            ("iat", now_s.into()),
            ("nbf", now_s.into()),
            ("exp", (now_s + i64::from(life_s)).into()),
            ("mfa_verified", wanted.mfa.unwrap_or(true).into()),
        ]);
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(ApiError::internal)
    }
}

async fn description(issuer: Arc<Issuer>, _: Request) -> Answer {
    let url = issuer.url()?;
    answer::ok(&json!({
        "issuer": url,
        "jwks_uri": format!("{url}/keys"),
        "token_endpoint": format!("{url}/token"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn keys(issuer: Arc<Issuer>, _: Request) -> Answer {
    answer::ok(&issuer.keys)
}

async fn mint(issuer: Arc<Issuer>, request: Request<Json<MintToken>>) -> Answer {
    let Json(wanted) = &request.body;
    if !issuer.knows(&wanted.client_secret) {
        return Err(problem::UNAUTHENTICATED.detail("this is not the secret of auth.local_issuer"));
    }
    let life_s = wanted.expires_in_s.unwrap_or(LIFE_S).min(LIFE_MAX_S);
    if wanted.claims.len() > CLAIMS_MAX {
        let rule = format!("at most {CLAIMS_MAX} are signed");
        return Err(ApiError::refused("claims_too_many", "there are too many claims").field("/claims", rule));
    }
    answer::ok(&Minted {
        access_token: issuer.sign(wanted, life_s)?,
        token_type: "Bearer",
        expires_in: life_s,
    })
}
