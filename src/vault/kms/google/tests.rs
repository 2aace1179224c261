//! Against a stand-in that speaks the API's wire: it wraps by a key of its own and checks what it is sent as the service
//! does.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::*;
use crate::vault::kms::conformance;
use crate::vault::seal;

const KEY: &str = "projects/p/locations/l/keyRings/r/cryptoKeys/vault-dek";

/// What goes wrong on the way, if anything.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    AnswerChanged,
    NotConfirmed,
}

struct StandIn {
    kek: Key,
    fault: Fault,
}

impl Respond for StandIn {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let bytes = |name: &str| STANDARD.decode(body[name].as_str().unwrap()).unwrap();
        let aad = bytes("additionalAuthenticatedData");
        let fits = |name: &str| body[format!("{name}Crc32c")] == crc32c::of(&bytes(name));
        if !fits("additionalAuthenticatedData") {
            return ResponseTemplate::new(400);
        }
        if request.url.path().ends_with(":encrypt") {
            assert!(fits("plaintext"));
            self.encrypted(&bytes("plaintext"), &aad)
        } else {
            assert!(fits("ciphertext"));
            self.decrypted(&bytes("ciphertext"), &aad)
        }
    }
}

impl StandIn {
    fn encrypted(&self, plaintext: &[u8], aad: &[u8]) -> ResponseTemplate {
        let ciphertext = seal::seal(&self.kek, aad, plaintext).unwrap().0;
        let confirmed = self.fault != Fault::NotConfirmed;
        ResponseTemplate::new(200).set_body_json(json!({
            "name": format!("{KEY}/cryptoKeyVersions/1"),
            "ciphertext": STANDARD.encode(&ciphertext),
            "ciphertextCrc32c": self.checksum(&ciphertext),
            "verifiedPlaintextCrc32c": confirmed,
            "verifiedAdditionalAuthenticatedDataCrc32c": confirmed,
            "protectionLevel": "HSM",
        }))
    }

    fn decrypted(&self, ciphertext: &[u8], aad: &[u8]) -> ResponseTemplate {
        let Ok(plaintext) = seal::open(&self.kek, aad, ciphertext) else {
            return ResponseTemplate::new(400)
                .set_body_json(json!({ "error": { "code": 400, "status": "INVALID_ARGUMENT" } }));
        };
        ResponseTemplate::new(200).set_body_json(json!({
            "plaintext": STANDARD.encode(plaintext.expose()),
            "plaintextCrc32c": self.checksum(plaintext.expose()),
            "usedPrimary": true,
        }))
    }

    fn checksum(&self, bytes: &[u8]) -> String {
        match self.fault {
            Fault::AnswerChanged => "1".to_owned(),
            _ => crc32c::of(bytes),
        }
    }
}

async fn stand_in(fault: Fault) -> (MockServer, GoogleKms) {
    // Not one of the pool, which would go on listening when it is dropped.
    let server = MockServer::builder().start().await;
    let kek = || StandIn {
        kek: Key::from_bytes(&[7; 32]).unwrap(),
        fault,
    };
    for verb in ["encrypt", "decrypt"] {
        Mock::given(method("POST"))
            .and(path(format!("/v1/{KEY}:{verb}")))
            .and(header("authorization", "Bearer a-token"))
            .respond_with(kek())
            .mount(&server)
            .await;
    }
    let kms = with_tokens(&server).await;
    (server, kms)
}

/// A client whose tokens come from the same stand-in.
async fn with_tokens(server: &MockServer) -> GoogleKms {
    Mock::given(method("GET"))
        .and(path("/token"))
        .and(header("metadata-flavor", "Google"))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(
                json!({ "access_token": "a-token", "expires_in": 3600, "token_type": "Bearer" }),
            ),
        )
        .expect(0..=1)
        .mount(server)
        .await;
    let token = MetadataToken::at(&format!("{}/token", server.uri())).unwrap();
    GoogleKms::new(&server.uri(), KEY, Arc::new(token)).unwrap()
}

#[tokio::test]
async fn it_keeps_the_contract_of_a_kms_with_one_token_for_all_calls() {
    let (server, kms) = stand_in(Fault::None).await;
    conformance::keeps_the_contract(&kms).await;
    server.verify().await;
    drop(server);
    conformance::is_unavailable(&kms).await;
}

#[tokio::test]
async fn an_answer_that_does_not_fit_its_checksum_is_not_used() {
    let (_server, kms) = stand_in(Fault::AnswerChanged).await;
    let key = Key::generate().unwrap();
    let wrapped = kms.wrap(&key, b"here").await;
    assert!(matches!(wrapped, Err(KmsError::Damaged(_))), "{wrapped:?}");
    let kek = Key::from_bytes(&[7; 32]).unwrap();
    let whole = Wrapped {
        kek: KEY.to_owned(),
        bytes: seal::wrap(&kek, b"here", &key).unwrap().0,
    };
    let unwrapped = kms.unwrap_key(&whole, b"here").await;
    assert!(matches!(unwrapped, Err(KmsError::Damaged(_))));
}

#[tokio::test]
async fn a_question_whose_checksums_are_not_confirmed_is_not_trusted() {
    let (_server, kms) = stand_in(Fault::NotConfirmed).await;
    let wrapped = kms.wrap(&Key::generate().unwrap(), b"here").await;
    assert!(matches!(wrapped, Err(KmsError::Damaged(_))), "{wrapped:?}");
}

#[tokio::test]
async fn faults_of_theirs_pass_and_what_is_forbidden_does_not() {
    for (status, passes) in [
        (500, true),
        (503, true),
        (429, true),
        (403, false),
        (404, false),
        (302, false),
    ] {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(status))
            .mount(&server)
            .await;
        let kms = with_tokens(&server).await;
        match kms.wrap(&Key::generate().unwrap(), b"here").await {
            Err(KmsError::Unavailable(_)) => assert!(passes, "{status}"),
            Err(KmsError::Refused(_)) => assert!(!passes, "{status}"),
            other => panic!("{status}: {other:?}"),
        }
    }
}

/// A stand-in that first answers `first`, `times` times, and then as it should.
async fn recovering(first: ResponseTemplate, times: u64) -> (MockServer, GoogleKms) {
    let (server, kms) = stand_in(Fault::None).await;
    Mock::given(method("POST"))
        .respond_with(first)
        .up_to_n_times(times)
        .with_priority(1)
        .expect(times)
        .mount(&server)
        .await;
    (server, kms)
}

#[tokio::test]
async fn faults_that_pass_and_damaged_answers_are_asked_for_again() {
    let damaged = ResponseTemplate::new(200).set_body_json(json!({
        "name": KEY, "ciphertext": STANDARD.encode(b"other"), "ciphertextCrc32c": "1",
        "verifiedPlaintextCrc32c": true, "verifiedAdditionalAuthenticatedDataCrc32c": true,
    }));
    for first in [ResponseTemplate::new(503), ResponseTemplate::new(429), damaged] {
        let (server, kms) = recovering(first, 2).await;
        let key = Key::generate().unwrap();
        let wrapped = kms.wrap(&key, b"here").await.unwrap();
        server.verify().await;
        let back = kms.unwrap_key(&wrapped, b"here").await.unwrap();
        assert_eq!(back.expose(), key.expose());
    }
    // A no stays a no: it is asked once.
    let (server, kms) = recovering(ResponseTemplate::new(403), 1).await;
    let refused = kms.wrap(&Key::generate().unwrap(), b"here").await;
    assert!(matches!(refused, Err(KmsError::Refused(_))), "{refused:?}");
    server.verify().await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(600));
    let (_server, kms) = recovering(slow, 1).await;
    let late = kms.wrap(&Key::generate().unwrap(), b"here").await;
    assert!(matches!(late, Err(KmsError::Unavailable(_))), "{late:?}");
}

/// A metadata server that gives `token`, valid for `seconds`, and is asked exactly so often.
async fn metadata(token: &str, seconds: u64, times: u64) -> (MockServer, MetadataToken) {
    let server = MockServer::builder().start().await;
    let answer = json!({ "access_token": token, "expires_in": seconds, "token_type": "Bearer" });
    Mock::given(method("GET"))
        .and(path("/token"))
        .and(header("metadata-flavor", "Google"))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .expect(times)
        .mount(&server)
        .await;
    let token = MetadataToken::at(&format!("{}/token", server.uri())).unwrap();
    (server, token)
}

#[tokio::test]
async fn a_token_is_kept_until_shortly_before_its_end_and_no_longer() {
    let (server, token) = metadata("a-token", 3600, 1).await;
    let many = futures::future::join_all((0..8).map(|_| token.get())).await;
    assert!(
        many.iter()
            .all(|got| got.as_ref().unwrap().expose_secret() == "a-token")
    );
    server.verify().await;
    // Within the margin before its end it is as good as over.
    let (server, token) = metadata("a-token", 60, 2).await;
    token.get().await.unwrap();
    token.get().await.unwrap();
    server.verify().await;
}

#[tokio::test]
async fn without_a_token_the_kms_is_away_and_nothing_of_the_answer_is_told() {
    let answers = [
        ResponseTemplate::new(404),
        ResponseTemplate::new(200).set_body_string("private words"),
        ResponseTemplate::new(200).set_body_json(json!({ "access_token": ["private words"] })),
    ];
    for answer in answers {
        let server = MockServer::builder().start().await;
        Mock::given(method("GET"))
            .respond_with(answer)
            .mount(&server)
            .await;
        let token = MetadataToken::at(&format!("{}/token", server.uri())).unwrap();
        let kms = GoogleKms::new(&server.uri(), KEY, Arc::new(token)).unwrap();
        let away = kms.wrap(&Key::generate().unwrap(), b"here").await;
        let Err(KmsError::Unavailable(said)) = away else {
            panic!("{away:?}");
        };
        assert!(!said.contains("private"), "{said}");
    }
}
