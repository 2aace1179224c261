//! Where Postgres lives: `postgres/` in the data directory, with the cluster in `data/` and the socket in `run/`.
//!
//! Root runs Postgres as another user (see `account.rs`), to whom the directory belongs. Where that user cannot reach the
//! data directory (it lies under `/root`, say), the directory is made under `/var/lib/counterfoil` instead and `postgres/`
//! is a link to it. A start that is killed at any point can be repeated.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::data_dir::DataDir;
use super::error::StackError;
use super::files;
use super::server::ServerKind;

/// For root, where Postgres's user cannot reach the data directory.
const ELSEWHERE: &str = "/var/lib/counterfoil";

/// Postgres's directory, and whom it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub dir: PathBuf,
    /// Whom Postgres runs as, where that is not ourselves.
    pub account: Option<Account>,
}

impl Home {
    /// Finds the directory, or makes it.
    pub async fn open(data_dir: &DataDir) -> Result<Self, StackError> {
        let place = data_dir.of(ServerKind::Postgres);
        let account = Account::for_postgres(&place)?;
        files::make_private_dir(&place)?;
        let dir = place.canonicalize().map_err(StackError::io("resolve", &place))?;
        let Some(account) = account else {
            return Ok(Self { dir, account: None });
        };
        account.own(&dir)?;
        if reachable(&account, &dir, data_dir).await? {
            let account = Some(account);
            return Ok(Self { dir, account });
        }
        if place.is_symlink() || dir.join("data").exists() {
            let user = account.name;
            return Err(StackError::Unreachable { user, dir });
        }
        // Nothing is in it yet but what a killed start may have left.
        files::remove_dir_if_any(&place)?;
        elsewhere(&place, account)
    }

    pub fn cluster(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn socket_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Removes what would make Postgres refuse to start although nobody works on the cluster: a lock file naming a
    /// process id that a stranger has now. One that names a dead process is left to Postgres, which uses it to find
    /// backends that outlived their postmaster.
    pub fn clear_stale_locks(&self) -> Result<(), StackError> {
        let cluster = self.cluster();
        let pid_file = cluster.join("postmaster.pid");
        match holder(&cluster, &pid_file) {
            Holder::Postmaster(pid) => return Err(StackError::ForeignPostgres { pid, dir: cluster }),
            Holder::Stranger => fs::remove_file(&pid_file).map_err(StackError::io("remove", &pid_file))?,
            Holder::Nobody => {}
        }
        let socket_dir = self.socket_dir();
        files::remove_dir_if_any(&socket_dir)?;
        files::make_private_dir(&socket_dir)?;
        self.account
            .as_ref()
            .map_or(Ok(()), |account| account.own(&socket_dir))
    }
}

/// Who has the process id that a cluster's lock file names.
enum Holder {
    Nobody,
    Postmaster(i32),
    Stranger,
}

/// Every postmaster's working directory is its cluster. Where the system does not show working directories (macOS),
/// Postgres's own check has to do.
fn holder(cluster: &Path, pid_file: &Path) -> Holder {
    let first_line = fs::read_to_string(pid_file).ok();
    let pid = first_line.and_then(|text| text.lines().next()?.trim().parse::<i32>().ok());
    let Some(process) = pid.map(|pid| PathBuf::from(format!("/proc/{pid}"))) else {
        return Holder::Nobody;
    };
    match (fs::read_link(process.join("cwd")), pid) {
        (Ok(works_in), Some(pid)) if works_in == cluster => Holder::Postmaster(pid),
        _ if process.exists() => Holder::Stranger,
        _ => Holder::Nobody,
    }
}

/// Whether the user can enter `dir`, after letting him through a data directory that nobody else uses.
async fn reachable(account: &Account, dir: &Path, data_dir: &DataDir) -> Result<bool, StackError> {
    if !account.can_enter(dir).await? && data_dir.is_exclusive() {
        let_in(account, data_dir.root())?;
    }
    account.can_enter(dir).await
}

/// Opens a data directory that serves nothing else to the group of Postgres's user, for passing through only.
fn let_in(account: &Account, root: &Path) -> Result<(), StackError> {
    std::os::unix::fs::chown(root, None, Some(account.gid.as_raw()))
        .and_then(|()| fs::set_permissions(root, fs::Permissions::from_mode(0o710)))
        .map_err(StackError::io("change the permissions of", root))
}

fn elsewhere(link: &Path, account: Account) -> Result<Home, StackError> {
    let above = Path::new(ELSEWHERE);
    fs::create_dir_all(above).map_err(StackError::io("create", above))?;
    let dir = above.join(uuid::Uuid::now_v7().simple().to_string());
    files::make_private_dir(&dir)?;
    account.own(&dir)?;
    std::os::unix::fs::symlink(&dir, link).map_err(StackError::io("create the link", link))?;
    tracing::warn!(
        user = account.name, link = %link.display(), dir = %dir.display(),
        "Postgres runs as another user, who cannot reach the data directory; its files are elsewhere (to delete the data, delete both)"
    );
    Ok(Home {
        dir,
        account: Some(account),
    })
}
