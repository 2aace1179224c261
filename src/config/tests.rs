//! The layers in their order, what is refused and how it is said, and that the example file is right.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use secrecy::ExposeSecret;

use super::{Config, ConfigError, LogFormat, Role, Sources};

fn with_file(text: &str) -> Sources {
    let path = std::env::temp_dir().join(format!("counterfoil-config-{}.toml", uuid::Uuid::now_v7()));
    std::fs::write(&path, text).unwrap();
    Sources::default().file(Some(path))
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::load(with_file(text))
}

#[test]
fn the_defaults_are_within_their_own_limits() {
    let config = Config::default();
    config.validate().unwrap();
    assert!(
        config.http.address.ip().is_loopback(),
        "nothing listens to the world unless it is told to"
    );
    assert!(config.roles.has(Role::Relay));
}

#[test]
fn file_environment_and_flags_win_in_this_order() {
    let sources = with_file("[http]\nmax_connections = 2\nhead_timeout_ms = 200\nbody_timeout_ms = 2000")
        .environment(variables(&[
            ("COUNTERFOIL_HTTP__MAX_CONNECTIONS", "3"),
            ("COUNTERFOIL_HTTP__HEAD_TIMEOUT_MS", "300"),
        ]))
        .flag("http.max_connections", 4);
    let http = Config::load(sources).unwrap().http;
    assert_eq!(
        (http.max_connections, http.head_timeout_ms, http.body_timeout_ms),
        (4, 300, 2000)
    );
    assert_eq!(
        http.idle_timeout_ms, 75_000,
        "the default, where nobody says more"
    );
}

#[test]
fn an_unknown_key_is_an_error_wherever_it_comes_from() {
    for error in [
        load("[http]\nport = 1").unwrap_err(),
        load("[web]\nport = 1").unwrap_err(),
        Config::load(Sources::default().environment(variables(&[("COUNTERFOIL_HTTP__PORT", "1")])))
            .unwrap_err(),
    ] {
        assert!(matches!(error, ConfigError::Unreadable(_)));
        assert!(error.to_string().contains("unknown field"), "{error}");
    }
}

#[test]
fn every_value_out_of_its_limits_is_listed_with_key_and_limit() {
    let error = load("[http]\nmax_connections = 0\n[limits]\nkept_answer_ttl_s = 86401")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("http.max_connections: is 0; it must lie between 1 and 100000"),
        "{error}"
    );
    assert!(
        error.contains("limits.kept_answer_ttl_s: is 86401; it must lie between 1 and 86400"),
        "{error}"
    );
}

#[test]
fn a_secret_of_digits_stays_a_text_and_is_never_printed() {
    let sources = Sources::default().environment(variables(&[
        ("COUNTERFOIL_POSTGRES__APP_PASSWORD", "0123"),
        ("COUNTERFOIL_NATS__PASSWORD", "true"),
        (
            "COUNTERFOIL_AUTH__BOOTSTRAP_TOKEN",
            "[a-token-of-at-least-32-characters]",
        ),
    ]));
    let config = Config::load(sources).unwrap();
    assert_eq!(
        config.postgres.app_password.as_ref().unwrap().expose_secret(),
        "0123"
    );
    assert_eq!(config.nats.password.as_ref().unwrap().expose_secret(), "true");
    let printed = format!("{config:?}");
    assert!(
        !printed.contains("0123") && !printed.contains("a-token-of"),
        "{printed}"
    );
}

#[test]
fn a_short_bootstrap_token_is_refused_without_repeating_it() {
    let error = load("[auth]\nbootstrap_token = \"hunter2\"")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("auth.bootstrap_token: must be 32 to 1024"),
        "{error}"
    );
    assert!(!error.contains("hunter2"));
}

#[test]
fn a_model_must_name_an_upstream_that_there_is() {
    let error = load("[[gateway.models]]\nname = \"m\"\nupstream = \"nobody\"")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("gateway.models[0].upstream: names no configured upstream"),
        "{error}"
    );
}

#[test]
fn a_key_in_the_vault_needs_one_kms_and_takes_the_place_of_the_key_itself() {
    let upstream = "[[gateway.upstreams]]\nname = \"main\"\nbase_url = \"https://x.example/v1\"\napi_key_secret = \"main\"\n";
    let socket = "[vault]\nsocket = \"/run/kms.sock\"\n";
    let google = "google_key = \"projects/p/locations/l/keyRings/r/cryptoKeys/k\"\n";
    load(&format!("{socket}{upstream}")).unwrap();
    load(&format!("[vault]\n{google}{upstream}")).unwrap();
    for (text, rule) in [
        (upstream.to_owned(), "needs a KMS"),
        (
            format!("{socket}{upstream}api_key = \"sk\"\n"),
            "exclude each other",
        ),
        (format!("{socket}{google}"), "exclude each other"),
        ("[vault]\ngoogle_key = \"k\"".to_owned(), "must be projects/"),
        (
            "[vault]\ngoogle_endpoint = \"http://kms.example\"".to_owned(),
            "must be https://",
        ),
    ] {
        let error = load(&text).unwrap_err().to_string();
        assert!(error.contains(rule), "{rule}: {error}");
    }
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let error = Config::load(Sources::default().file(Some("no/such.toml".into()))).unwrap_err();
    assert!(matches!(error, ConfigError::NoFile(_)), "{error}");
}

#[test]
fn variables_without_a_double_underscore_are_not_configuration() {
    let ours = variables(&[
        ("COUNTERFOIL_URL", "http://x"),
        ("COUNTERFOIL_CONFIG", "x"),
        ("PATH", "/bin"),
    ]);
    Config::load(Sources::default().environment(ours)).unwrap();
}

#[test]
fn the_example_file_says_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/counterfoil.example.toml");
    let example = Config::load(Sources::default().file(Some(path))).unwrap();
    assert_eq!(
        format!("{:?}", example.http),
        format!("{:?}", Config::default().http)
    );
    assert_eq!(
        format!("{:?}", example.limits),
        format!("{:?}", Config::default().limits)
    );
    assert_eq!(
        format!("{:?}", example.roles),
        format!("{:?}", Config::default().roles)
    );
    assert_eq!(
        format!("{:?}", example.kri),
        format!("{:?}", Config::default().kri)
    );
    assert_eq!(
        format!("{:?}", example.policy),
        format!("{:?}", Config::default().policy)
    );
    assert_eq!(
        format!("{:?}", example.nats),
        format!("{:?}", Config::default().nats)
    );
    assert_eq!(
        format!("{:?}", example.redis),
        format!("{:?}", Config::default().redis)
    );
    assert_eq!(
        format!("{:?}", example.vault),
        format!("{:?}", Config::default().vault)
    );
    assert_eq!(
        format!("{:?}", example.postgres),
        format!("{:?}", Config::default().postgres)
    );
    assert_eq!(example.telemetry.log_format, LogFormat::Auto);
    assert!(example.gateway.upstreams.len() == 1 && example.gateway.models.len() == 2);
}
