//! What the server asks and is answered, as NATS's JWTs: header, claims and an Ed25519 signature by an nkey, each in
//! base64url, joined by dots (NATS ADR-14 and ADR-26, version 2 of the claims).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil_events::timestamp::Timestamp;
use nkeys::{KeyPair, KeyPairType};
use serde::{Deserialize, Serialize};

use super::grant::{ACCOUNT, Grant};

const HEADER: &[u8] = br#"{"typ":"JWT","alg":"ed25519-nkey"}"#;
/// Far above any request: whatever is longer is none.
const MAX_BYTES: usize = 64 << 10;

/// A text that is no request of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a request that a NATS server signed")]
pub struct NotARequest;

/// The key that answers are signed by; the server knows its public half as `issuer`.
pub struct CalloutKey(KeyPair);

impl CalloutKey {
    /// From 32 bytes.
    ///
    /// # Errors
    /// Never, but for a defect of the curve's implementation.
    pub fn new(bytes: [u8; 32]) -> Result<Self, nkeys::error::Error> {
        KeyPair::new_from_raw(KeyPairType::Account, bytes).map(Self)
    }

    /// As the server's configuration names it: `A…`.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.0.public_key()
    }

    fn sign(&self, claims: &impl Serialize) -> Option<String> {
        let claims = serde_json::to_vec(claims).ok()?;
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(HEADER),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = self.0.sign(signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Who wants to log in. It does not print its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name of the server that asks.
    server: String,
    /// The name that the server gave the connection.
    user_nkey: String,
    /// The user that it shows.
    pub user: String,
    /// The password that it shows.
    pub password: String,
}

#[derive(Deserialize)]
struct RequestClaims {
    iss: String,
    nats: RequestBody,
}

#[derive(Deserialize)]
struct RequestBody {
    server_id: ServerId,
    user_nkey: String,
    connect_opts: ConnectOpts,
}

#[derive(Deserialize)]
struct ServerId {
    id: String,
}

#[derive(Deserialize)]
struct ConnectOpts {
    #[serde(default)]
    user: String,
    #[serde(default)]
    pass: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Login");
        shown.field("server", &self.server).field("user", &self.user);
        shown.finish_non_exhaustive()
    }
}

impl Login {
    /// Reads a request, which the server must have signed by its own name.
    ///
    /// # Errors
    /// When it did not, or it is none.
    pub fn read(text: &[u8]) -> Result<Self, NotARequest> {
        Self::try_read(text).ok_or(NotARequest)
    }

    fn try_read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text)
            .ok()
            .filter(|text| text.len() <= MAX_BYTES)?;
        let (signed, signature) = text.rsplit_once('.')?;
        let (_, claims) = signed.split_once('.')?;
        let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
        let RequestClaims { iss, nats } = serde_json::from_slice(&claims).ok()?;
        let server = KeyPair::from_public_key(&iss).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        server.verify(signed.as_bytes(), &signature).ok()?;
        let by_server = matches!(server.key_pair_type(), KeyPairType::Server) && iss == nats.server_id.id;
        by_server.then_some(Self {
            server: iss,
            user_nkey: nats.user_nkey,
            user: nats.connect_opts.user,
            password: nats.connect_opts.pass,
        })
    }
}

#[derive(Serialize)]
struct Claims<'c, B> {
    iss: &'c str,
    sub: &'c str,
    aud: &'c str,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'c str>,
    nats: B,
}

#[derive(Serialize)]
struct UserBody {
    r#type: &'static str,
    version: u8,
    r#pub: Allowed,
    sub: Allowed,
    subs: i64,
    data: i64,
    payload: i64,
}

#[derive(Serialize)]
struct Allowed {
    allow: Vec<String>,
}

#[derive(Serialize)]
struct ResponseBody<'c> {
    r#type: &'static str,
    version: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'c str>,
}

/// Longest request of a subscriber: a fetch is a few dozen bytes.
const MAX_PAYLOAD_BYTES: i64 = 4096;
/// Most subscriptions of a connection: one is enough.
const MAX_SUBSCRIPTIONS: i64 = 16;

/// Lets somebody in, with what the grant says, until `until`: the server then ends the connection by itself.
#[must_use]
pub fn admit(
    key: &CalloutKey,
    login: &Login,
    grant: &Grant,
    now: Timestamp,
    until: Timestamp,
) -> Option<String> {
    let issuer = key.issuer();
    let user = Claims {
        iss: &issuer,
        sub: &login.user_nkey,
        aud: ACCOUNT,
        iat: seconds(now),
        exp: Some(seconds(until)),
        jti: uuid::Uuid::now_v7().to_string(),
        name: Some(&grant.consumer),
        nats: UserBody {
            r#type: "user",
            version: 2,
            r#pub: Allowed {
                allow: grant.publishes().to_vec(),
            },
            sub: Allowed {
                allow: grant.subscribes().to_vec(),
            },
            subs: MAX_SUBSCRIPTIONS,
            data: -1,
            payload: MAX_PAYLOAD_BYTES,
        },
    };
    respond(key, login, now, Ok(key.sign(&user)?))
}

/// Keeps somebody out; the server logs why, and tells the client nothing.
#[must_use]
pub fn refuse(key: &CalloutKey, login: &Login, now: Timestamp, why: &str) -> Option<String> {
    respond(key, login, now, Err(why))
}

fn respond(key: &CalloutKey, login: &Login, now: Timestamp, outcome: Result<String, &str>) -> Option<String> {
    let (jwt, error) = match outcome {
        Ok(jwt) => (Some(jwt), None),
        Err(why) => (None, Some(why)),
    };
    let issuer = key.issuer();
    key.sign(&Claims {
        iss: &issuer,
        sub: &login.user_nkey,
        aud: &login.server,
        iat: seconds(now),
        exp: None,
        jti: uuid::Uuid::now_v7().to_string(),
        name: None,
        nats: ResponseBody {
            r#type: "authorization_response",
            version: 2,
            jwt,
            error,
        },
    })
}

fn seconds(at: Timestamp) -> i64 {
    at.as_datetime().timestamp()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn signed(by: &KeyPair, claims: &Value) -> String {
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(HEADER),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = by.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn request(server: &str) -> Value {
        json!({"iss": server, "aud": "nats-authorization-request", "nats": {
            "server_id": {"name": "n", "id": server}, "user_nkey": "UABC", "client_info": {},
            "connect_opts": {"user": "cf.1", "pass": "cfn_x", "protocol": 1}, "type": "authorization_request"}})
    }

    #[test]
    fn a_request_is_read_when_the_server_that_it_names_has_signed_it() {
        let (server, other, account) = (
            KeyPair::new_server(),
            KeyPair::new_server(),
            KeyPair::new_account(),
        );
        let good = request(&server.public_key());
        let login = Login::read(signed(&server, &good).as_bytes()).unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("cf.1", "cfn_x"));
        let mut of_another = good.clone();
        of_another["nats"]["server_id"]["id"] = other.public_key().into();
        for bad in [
            signed(&other, &good),
            signed(&server, &of_another),
            signed(&account, &request(&account.public_key())),
            signed(&server, &json!({"iss": server.public_key()})),
            signed(&server, &good).replace('.', ""),
            String::new(),
        ] {
            assert_eq!(Login::read(bad.as_bytes()), Err(NotARequest), "{bad}");
        }
    }

    #[test]
    fn an_answer_lets_in_with_the_grant_and_until_its_time_and_is_signed_by_the_issuer() {
        let server = KeyPair::new_server();
        let login = Login::read(signed(&server, &request(&server.public_key())).as_bytes()).unwrap();
        let key = CalloutKey::new([7; 32]).unwrap();
        let prefix = counterfoil_events::backbone::StreamPrefix::new("cf").unwrap();
        let ids = (
            counterfoil_events::ids::TenantId::generate(),
            counterfoil_events::ids::ApiKeyId::generate(),
        );
        let grant = Grant::new(&prefix, 0, ids.0, ids.1);
        let now: Timestamp = "2027-01-15T08:00:00.000000Z".parse().unwrap();
        let until: Timestamp = "2027-01-15T08:05:00.000000Z".parse().unwrap();
        let claims = |text: &str| -> Value {
            let (signed, signature) = text.rsplit_once('.').unwrap();
            let issuer = KeyPair::from_public_key(&key.issuer()).unwrap();
            issuer
                .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
                .unwrap();
            let claims = signed.split_once('.').unwrap().1;
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
        };
        let response = claims(&admit(&key, &login, &grant, now, until).unwrap());
        assert_eq!(
            (&response["sub"], &response["aud"]),
            (&json!("UABC"), &json!(server.public_key()))
        );
        let user = claims(response["nats"]["jwt"].as_str().unwrap());
        assert_eq!(
            (&user["sub"], &user["aud"], &user["exp"]),
            (&json!("UABC"), &json!("SUBSCRIBERS"), &json!(1_800_000_300))
        );
        assert_eq!(user["nats"]["pub"]["allow"], json!(grant.publishes()));
        assert_eq!(user["nats"]["sub"]["allow"], json!(grant.subscribes()));
        let refused = claims(&refuse(&key, &login, now, "no such credential").unwrap());
        assert_eq!(refused["nats"]["error"], "no such credential");
        assert!(refused["nats"].get("jwt").is_none());
    }
}
