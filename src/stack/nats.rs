//! Private NATS with JetStream: the backbone. Its store is a copy that can be refilled from Postgres, so the
//! default sync interval of two minutes is left as it is, and being killed does it no harm.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use secrecy::{ExposeSecret, SecretString};

use super::data_dir::DataDir;
use super::error::StackError;
use super::files;
use super::probe::Probe;
use super::server::{ServerKind, ServerSpec};
use crate::subscriber::{ACCOUNT, API_PREFIX, CalloutKey, PLATFORM_ACCOUNT};

pub(super) const USER: &str = "counterfoil";
const CALLOUT_CONTEXT: &str = "counterfoil 2026 nats callout v1";
/// Far above an envelope (65,535 bytes) with its headers; also NATS's own default, fixed here.
const MAX_PAYLOAD_BYTES: u32 = 1024 * 1024;

/// Writes the configuration, and says how to run NATS on `port`.
pub(super) fn spec(
    data_dir: &DataDir,
    program: PathBuf,
    port: u16,
    password: &SecretString,
) -> Result<ServerSpec, StackError> {
    let dir = data_dir.of(ServerKind::Nats);
    let file = dir.join("nats.conf");
    let store = store_dir(data_dir);
    move_streams_to_their_account(&store).map_err(|source| StackError::Io {
        action: "moving streams in",
        path: store.clone(),
        source,
    })?;
    files::write_private(&file, configuration(port, password, &store).as_bytes())?;
    Ok(ServerSpec {
        kind: ServerKind::Nats,
        program,
        args: vec!["--config".into(), file.into()],
        dir,
        account: None,
        before_start: None,
        log: data_dir.log(ServerKind::Nats),
        pid_file: data_dir.pid_file(ServerKind::Nats),
        port,
        probe: Probe::Nats {
            address: url(port),
            user: USER,
            password: password.clone(),
        },
        stop_signal: Signal::SIGTERM,
        death_signal: Signal::SIGKILL,
        // Reopening a large store reads its index; a damaged one is rebuilt from its blocks.
        start_timeout: Duration::from_secs(60),
        stop_timeout: Duration::from_secs(10),
    })
}

/// Where JetStream keeps its streams.
pub(super) fn store_dir(data_dir: &DataDir) -> PathBuf {
    data_dir.of(ServerKind::Nats).join("store")
}

/// The address, without user and password.
pub(super) fn url(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}

fn configuration(port: u16, password: &SecretString, store_dir: &Path) -> String {
    let issuer = CalloutKey::new(callout_key(password)).map_or_else(|_| String::new(), |key| key.issuer());
    let password = password.expose_secret();
    let store_dir = quoted(store_dir);
    let (fetch, info, ack) = ("CONSUMER.MSG.NEXT.*.*", "CONSUMER.INFO.*.*", "$JS.ACK.>");
    format!(
        "# Written by counterfoil at each start.\n\
         server_name: counterfoil\n\
         listen: \"127.0.0.1:{port}\"\n\
         max_payload: {MAX_PAYLOAD_BYTES}\n\
         jetstream {{ store_dir: {store_dir} }}\n\
         accounts {{\n  \
           {PLATFORM_ACCOUNT} {{\n    \
             jetstream: enabled\n    \
             users: [{{ user: {USER}, password: \"{password}\" }}]\n    \
             exports: [\n      \
               {{ service: \"$JS.API.{fetch}\", response_type: stream, accounts: [{ACCOUNT}] }}\n      \
               {{ service: \"$JS.API.{info}\", accounts: [{ACCOUNT}] }}\n      \
               {{ service: \"{ack}\", accounts: [{ACCOUNT}] }}\n    \
             ]\n  \
           }}\n  \
           {ACCOUNT} {{\n    \
             imports: [\n      \
               {{ service: {{ account: {PLATFORM_ACCOUNT}, subject: \"$JS.API.{fetch}\" }}, to: \"{API_PREFIX}.{fetch}\" }}\n      \
               {{ service: {{ account: {PLATFORM_ACCOUNT}, subject: \"$JS.API.{info}\" }}, to: \"{API_PREFIX}.{info}\" }}\n      \
               {{ service: {{ account: {PLATFORM_ACCOUNT}, subject: \"{ack}\" }} }}\n    \
             ]\n  \
           }}\n\
         }}\n\
         authorization {{\n  \
           auth_callout {{ issuer: {issuer}, account: {PLATFORM_ACCOUNT}, auth_users: [{USER}] }}\n\
         }}\n"
    )
}

/// By which logins of subscribers are answered: derived from the password, so that there is one secret to keep.
pub(super) fn callout_key(password: &SecretString) -> [u8; 32] {
    blake3::derive_key(CALLOUT_CONTEXT, password.expose_secret().as_bytes())
}

/// Streams of before there were accounts lie under the one that the server names `$G`: they are found where they are
/// looked for now. To be done while no server runs.
fn move_streams_to_their_account(store_dir: &Path) -> std::io::Result<()> {
    let root = store_dir.join("jetstream");
    let (before, now) = (root.join("$G"), root.join(PLATFORM_ACCOUNT));
    match before.exists() && !now.exists() {
        true => std::fs::rename(before, now),
        false => Ok(()),
    }
}

fn quoted(path: &Path) -> String {
    let escaped = path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_listens_on_loopback_with_a_password_and_a_store_of_its_own() {
        let text = configuration(20_002, &"secret".into(), Path::new("/data/a \"b\"/nats"));
        insta::assert_snapshot!(text, @r#"
        # Written by counterfoil at each start.
        server_name: counterfoil
        listen: "127.0.0.1:20002"
        max_payload: 1048576
        jetstream { store_dir: "/data/a \"b\"/nats" }
        accounts {
          COUNTERFOIL {
            jetstream: enabled
            users: [{ user: counterfoil, password: "secret" }]
            exports: [
              { service: "$JS.API.CONSUMER.MSG.NEXT.*.*", response_type: stream, accounts: [SUBSCRIBERS] }
              { service: "$JS.API.CONSUMER.INFO.*.*", accounts: [SUBSCRIBERS] }
              { service: "$JS.ACK.>", accounts: [SUBSCRIBERS] }
            ]
          }
          SUBSCRIBERS {
            imports: [
              { service: { account: COUNTERFOIL, subject: "$JS.API.CONSUMER.MSG.NEXT.*.*" }, to: "JS.COUNTERFOIL.API.CONSUMER.MSG.NEXT.*.*" }
              { service: { account: COUNTERFOIL, subject: "$JS.API.CONSUMER.INFO.*.*" }, to: "JS.COUNTERFOIL.API.CONSUMER.INFO.*.*" }
              { service: { account: COUNTERFOIL, subject: "$JS.ACK.>" } }
            ]
          }
        }
        authorization {
          auth_callout { issuer: AA3CWXHVVJNKL27LM62DVZAF6LSYEOREHPZEN2OXIQOE2XFX447SKSUB, account: COUNTERFOIL, auth_users: [counterfoil] }
        }
        "#);
    }

    #[test]
    fn streams_of_before_there_were_accounts_are_moved_once() {
        let store = tempfile::tempdir().unwrap();
        let stream = |account: &str| store.path().join("jetstream").join(account).join("streams/CF");
        move_streams_to_their_account(store.path()).unwrap();
        std::fs::create_dir_all(stream("$G")).unwrap();
        move_streams_to_their_account(store.path()).unwrap();
        assert!(stream(PLATFORM_ACCOUNT).exists() && !stream("$G").exists());
        // What is there stays.
        std::fs::create_dir_all(stream("$G")).unwrap();
        move_streams_to_their_account(store.path()).unwrap();
        assert!(stream("$G").exists());
    }
}
