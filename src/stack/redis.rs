//! Private Redis: counters and kept answers, in memory only. Losing it loses nothing, so it writes nothing to
//! disk; and when it is full it refuses rather than forgetting a counter that still limits somebody.

use std::time::Duration;

use nix::sys::signal::Signal;
use secrecy::{ExposeSecret, SecretString};

use super::data_dir::DataDir;
use super::error::StackError;
use super::files;
use super::probe::Probe;
use super::server::{ServerKind, ServerSpec};

/// Ample for counters and a day of kept answers on one machine.
const MAX_MEMORY: &str = "256mb";

/// Writes the configuration, and says how to run Redis on `port`.
pub(super) fn spec(
    data_dir: &DataDir,
    program: std::path::PathBuf,
    port: u16,
    password: &SecretString,
) -> Result<ServerSpec, StackError> {
    let dir = data_dir.of(ServerKind::Redis);
    let file = dir.join("redis.conf");
    files::write_private(&file, configuration(port, password).as_bytes())?;
    Ok(ServerSpec {
        kind: ServerKind::Redis,
        program,
        args: vec![file.into()],
        dir,
        account: None,
        before_start: None,
        log: data_dir.log(ServerKind::Redis),
        pid_file: data_dir.pid_file(ServerKind::Redis),
        port,
        probe: Probe::Redis {
            url: url(port, password),
        },
        stop_signal: Signal::SIGTERM,
        death_signal: Signal::SIGKILL,
        start_timeout: Duration::from_secs(20),
        stop_timeout: Duration::from_secs(5),
    })
}

/// The address with its password.
pub(super) fn url(port: u16, password: &SecretString) -> SecretString {
    format!("redis://:{}@127.0.0.1:{port}/", password.expose_secret()).into()
}

fn configuration(port: u16, password: &SecretString) -> String {
    let password = password.expose_secret();
    format!(
        "# Written by counterfoil at each start.\n\
         bind 127.0.0.1\n\
         port {port}\n\
         protected-mode yes\n\
         requirepass {password}\n\
         daemonize no\n\
         save \"\"\n\
         appendonly no\n\
         maxmemory {MAX_MEMORY}\n\
         maxmemory-policy noeviction\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_on_loopback_with_a_password_keeps_nothing_and_evicts_nothing() {
        insta::assert_snapshot!(configuration(20_001, &"secret".into()), @r#"
        # Written by counterfoil at each start.
        bind 127.0.0.1
        port 20001
        protected-mode yes
        requirepass secret
        daemonize no
        save ""
        appendonly no
        maxmemory 256mb
        maxmemory-policy noeviction
        "#);
    }
}
