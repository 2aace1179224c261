//! The layers in their order, what is refused and how it is said, and that the example file is right.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use figment::Figment;
use figment::providers::{Format, Toml};
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
    let flag = Config::load(Sources::default().flag_text("http.port", "1"))
        .unwrap_err()
        .to_string();
    assert!(flag.ends_with("for key \"http.port\" in the flags"), "{flag}");
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
fn a_pooler_is_configured_whole_or_not_at_all() {
    for half in [
        "[postgres]\nstatement_cache = false",
        "[postgres]\ndirect_host = \"db\"",
        "[postgres]\ndirect_port = 5433",
    ] {
        let error = load(half).unwrap_err().to_string();
        assert!(error.contains("postgres.statement_cache"), "{half}: {error}");
    }
    let whole = load("[postgres]\nport = 6432\nstatement_cache = false\ndirect_port = 5432").unwrap();
    let options = whole.postgres.database_options();
    assert_eq!(options.server.get_port(), 5432, "log and read models");
    assert_eq!(options.app_pooler.unwrap().get_port(), 6432, "requests");
    assert!(Config::default().postgres.database_options().app_pooler.is_none());
}

#[test]
fn a_secret_of_the_origin_is_long_and_the_one_before_does_not_stand_alone() {
    let long = "0123456789abcdef0123456789abcdef";
    for (text, expected) in [
        (
            "secret = \"short\"".to_owned(),
            "origin.secret: must be 32 to 1024 bytes",
        ),
        (
            format!("previous_secret = \"{long}\""),
            "origin.previous_secret: needs origin.secret",
        ),
    ] {
        let error = load(&format!("[origin]\n{text}")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("short\"") && !error.contains(long));
    }
    load(&format!(
        "[origin]\nsecret = \"{long}\"\nprevious_secret = \"{long}\""
    ))
    .unwrap();
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
fn there_is_one_kms_and_a_key_in_the_vault_takes_the_place_of_the_key_itself() {
    let upstream = "[[gateway.upstreams]]\nname = \"main\"\nbase_url = \"https://x.example/v1\"\napi_key_secret = \"main\"\n";
    let socket = "[vault]\nsocket = \"/run/kms.sock\"\n";
    let google = "google_key = \"projects/p/locations/l/keyRings/r/cryptoKeys/k\"\n";
    load(&format!("{socket}{upstream}")).unwrap();
    load(&format!("[vault]\n{google}{upstream}")).unwrap();
    for (text, rule) in [
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

/// The keys of each section of the example, those that are commented out too; `[[a.b]]` is a key `b` of the section `a`.
fn example_keys(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (mut keys, mut section) = (BTreeMap::<String, BTreeSet<String>>::new(), String::new());
    for line in text.lines() {
        if let Some(header) = line.trim_start_matches("# ").strip_prefix('[') {
            let (header, _) = header.trim_start_matches('[').split_once(']').unwrap();
            let mut names = header.split('.');
            section = names.next().unwrap().to_owned();
            keys.entry(section.clone())
                .or_default()
                .extend(names.map(str::to_owned));
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
            keys.entry(section.clone()).or_default().insert(key.to_owned());
        }
    }
    keys
}

/// The public fields of every struct in a file that is read from the configuration.
fn settings_of(source: &str) -> BTreeSet<String> {
    let mut settings = BTreeSet::new();
    for body in source.split("pub struct ").skip(1) {
        let (name, rest) = body.split_once('{').unwrap();
        if name.trim().ends_with("Config") {
            let fields = rest.split("\n}").next().unwrap().lines();
            let names = fields.filter_map(|line| line.strip_prefix("    pub ")?.split(':').next());
            settings.extend(names.map(str::to_owned));
        }
    }
    settings
}

#[test]
fn every_setting_is_in_the_example_file_and_every_key_there_is_a_setting() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let example = read("deploy/counterfoil.example.toml");
    let sections = settings_of(&read("src/config/mod.rs"));
    let keys = example_keys(&example);
    assert_eq!(keys.keys().cloned().collect::<BTreeSet<_>>(), sections);
    for (section, keys) in &keys {
        let mut settings = settings_of(&read(&format!("src/config/{section}.rs")));
        if section == "kri" {
            settings.extend(settings_of(&read("src/kri/config.rs")));
        }
        assert_eq!(keys, &settings, "[{section}]");
    }
    // All at once, with what is commented out.
    let full: String = example
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if key.contains(" = ") || key.starts_with('[') => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let all: Result<Config, _> = Figment::new().merge(Toml::string(&full)).extract();
    all.unwrap();
}

#[test]
fn a_key_and_a_file_for_it_at_once_are_refused() {
    let upstream = "[[gateway.upstreams]]\nname = \"one\"\nbase_url = \"https://x\"\napi_key = \"k\"\napi_key_file = \"f\"";
    let error = load(upstream).unwrap_err().to_string();
    assert!(
        error.contains("gateway.upstreams[0].api_key_file: is set beside api_key"),
        "{error}"
    );
}

#[test]
fn a_local_issuer_is_for_this_machine_alone() {
    let local = |more: &str| {
        let secret = "0123456789abcdef0123456789abcdef";
        load(&format!("[auth.local_issuer]\nsecret = \"{secret}\"\n{more}"))
    };
    let config = local("").unwrap();
    assert_eq!(
        config.auth.local_issuer.unwrap().address.to_string(),
        "127.0.0.1:8091"
    );
    local("address = \"[::1]:0\"").unwrap();
    for reached in [
        "address = \"0.0.0.0:8091\"",
        "address = \"10.0.0.1:8091\"",
        "[http]\naddress = \"0.0.0.0:8080\"",
    ] {
        let error = local(reached).unwrap_err().to_string();
        assert!(
            error.contains("must be of this machine alone"),
            "{reached}: {error}"
        );
    }
    let error = load("[auth.local_issuer]\nsecret = \"hunter2\"")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("auth.local_issuer.secret") && !error.contains("hunter2"),
        "{error}"
    );
    assert!(Config::default().auth.local_issuer.is_none());
}
