//! Proofs, one by one, and the switch with a clock that stands where a test puts it.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use warp::http::HeaderValue;

use super::*;

const NOW: i64 = 1_800_000_000;

struct Stands;

impl Clock for Stands {
    fn now(&self) -> Timestamp {
        "2027-01-15T08:00:00.000000Z".parse().unwrap()
    }
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

/// A proof by this secret, so many seconds from now, for `POST /v1/things`.
fn proof(by: &str, off_s: i64) -> String {
    prove(&secret(by), NOW + off_s, &Method::POST, "/v1/things")
}

fn checked(values: &[String]) -> Result<(), Refusal> {
    let secrets = [secret("the secret of today"), secret("the secret of yesterday")];
    let origin = OriginProof::new(&secrets, Duration::from_secs(60), Arc::new(Stands));
    let header = |value: &String| {
        (
            X_ORIGIN_VERIFY.parse().unwrap(),
            HeaderValue::from_str(value).unwrap(),
        )
    };
    let mut headers = HeaderMap::new();
    for (name, value) in values.iter().map(header) {
        let name: warp::http::HeaderName = name;
        headers.append(name, value);
    }
    let refused = origin.check(&Method::POST, "/v1/things", &headers);
    let verified = origin.verify(&Method::POST, "/v1/things", &headers);
    assert_eq!(refused.is_ok(), verified.is_ok());
    if let Err(error) = refused {
        // One refusal for every reason.
        assert_eq!(error.status(), 403);
        assert!(error.client_text().starts_with("this origin answers only"));
    }
    verified
}

#[test]
fn a_proof_holds_by_either_secret_within_the_window_for_its_own_request_alone() {
    let good = proof("the secret of today", 0);
    let (_, tag) = good.split_once('.').unwrap();
    let other = |method: Method, path: &str| prove(&secret("the secret of today"), NOW, &method, path);
    let cases = [
        ("as it should be", vec![good.clone()], Ok(())),
        (
            "by the secret before",
            vec![proof("the secret of yesterday", 0)],
            Ok(()),
        ),
        (
            "by a secret that is gone",
            vec![proof("the secret of last week", 0)],
            Err(Refusal::Wrong),
        ),
        (
            "at the end of the window",
            vec![proof("the secret of today", -60)],
            Ok(()),
        ),
        (
            "ahead, at its end",
            vec![proof("the secret of today", 60)],
            Ok(()),
        ),
        (
            "expired",
            vec![proof("the secret of today", -61)],
            Err(Refusal::OutsideWindow),
        ),
        (
            "of the future",
            vec![proof("the secret of today", 61)],
            Err(Refusal::OutsideWindow),
        ),
        (
            "expired and wrong",
            vec![proof("x", -61)],
            Err(Refusal::OutsideWindow),
        ),
        ("missing", vec![], Err(Refusal::Missing)),
        ("twice", vec![good.clone(), good.clone()], Err(Refusal::Missing)),
        (
            "of another method",
            vec![other(Method::GET, "/v1/things")],
            Err(Refusal::Wrong),
        ),
        (
            "of another path",
            vec![other(Method::POST, "/v1/thing")],
            Err(Refusal::Wrong),
        ),
        (
            "with another time",
            vec![format!("{}.{tag}", NOW + 1)],
            Err(Refusal::Wrong),
        ),
        (
            "cut",
            vec![good[..good.len() - 2].to_owned()],
            Err(Refusal::Malformed),
        ),
        ("longer", vec![format!("{good}00")], Err(Refusal::Malformed)),
        (
            "no hexadecimal",
            vec![format!("{NOW}.{}", "zz".repeat(32))],
            Err(Refusal::Malformed),
        ),
        ("no time", vec![format!(".{tag}")], Err(Refusal::Malformed)),
        (
            "far beyond any time",
            vec![format!("{}.{tag}", i64::MIN)],
            Err(Refusal::OutsideWindow),
        ),
        ("empty", vec![String::new()], Err(Refusal::Malformed)),
    ];
    for (what, values, expected) in cases {
        assert_eq!(checked(&values), expected, "{what}");
    }
}

#[test]
fn the_proof_is_the_standards_hmac_over_the_lines_that_are_documented() {
    // Computed by OpenSSL: printf 'counterfoil origin v1\n1800000000\nGET\n/v1/tenants' | openssl dgst -sha256 -hmac key
    let proof = prove(&secret("key"), NOW, &Method::GET, "/v1/tenants");
    assert_eq!(
        proof,
        "1800000000.c8a6ee9b95efe9a92a795cf48908d0f9321b9bb0b31decd06397740acdd15441"
    );
}

/// A clock, and a switch, that a test sets.
#[derive(Clone, Default)]
struct Set {
    now: Arc<std::sync::Mutex<String>>,
    until: Arc<std::sync::Mutex<Option<Timestamp>>>,
}

impl Clock for Set {
    fn now(&self) -> Timestamp {
        self.now.lock().unwrap().parse().unwrap()
    }
}

#[test]
fn a_suspended_proof_is_asked_for_again_at_its_time_with_nothing_said() {
    let set = Set::default();
    let secrets = [secret("the secret of today")];
    let until = Arc::clone(&set.until);
    let origin = OriginProof::new(&secrets, Duration::from_secs(60), Arc::new(set.clone()))
        .unless(Arc::new(move || *until.lock().unwrap()));
    let passes = |at: &str| {
        *set.now.lock().unwrap() = format!("2027-01-15T{at}Z");
        origin
            .check(&Method::POST, "/v1/things", &HeaderMap::new())
            .is_ok()
    };
    assert!(!passes("08:00:00.000000"), "nobody has suspended it");
    *set.until.lock().unwrap() = Some("2027-01-15T08:15:00.000000Z".parse().unwrap());
    assert!(passes("08:00:00.000001") && passes("08:14:59.999999"));
    assert!(
        !passes("08:15:00.000000") && !passes("09:00:00.000000"),
        "it has ended by itself"
    );
    *set.until.lock().unwrap() = None;
    assert!(!passes("08:14:00.000000"), "it was restored before its time");
}
