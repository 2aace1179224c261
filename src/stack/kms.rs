//! The key process of the vault as a child: `counterfoil kms serve`, our own program, over a socket in the data directory.
//!
//! It makes its key at the very first start and never again: where one was made and is gone, it refuses to start, since
//! another would open nothing that is sealed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::data_dir::DataDir;
use super::probe::Probe;
use super::server::{ServerKind, ServerSpec};

/// Where the key process of the data directory `root` keeps its key.
#[must_use]
pub fn kek_dir(root: &Path) -> PathBuf {
    root.join(ServerKind::Kms.file_name())
}

/// How to run the key process.
pub(super) fn spec(data_dir: &DataDir, program: &Path) -> ServerSpec {
    let (dir, socket) = (data_dir.of(ServerKind::Kms), data_dir.kms_socket());
    let args = ["kms", "serve", "--create", "--keys"].map(Into::into);
    let places = [dir.clone(), PathBuf::from("--socket"), socket.clone()];
    ServerSpec {
        kind: ServerKind::Kms,
        program: program.to_owned(),
        args: args.into_iter().chain(places.map(Into::into)).collect(),
        dir,
        account: None,
        before_start: None,
        log: data_dir.log(ServerKind::Kms),
        pid_file: data_dir.pid_file(ServerKind::Kms),
        port: 0,
        probe: Probe::Kms { socket },
        stop_signal: Signal::SIGTERM,
        // It keeps nothing that could be harmed.
        death_signal: Signal::SIGKILL,
        start_timeout: Duration::from_secs(20),
        stop_timeout: Duration::from_secs(6),
    }
}
