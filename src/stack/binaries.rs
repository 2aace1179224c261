//! Finds the servers' programs and refuses versions that do not do: PostgreSQL 15 to 17, NATS from 2.10, Redis from 6.
//!
//! The first program on the search path whose version does is taken, so that an old system package does not hide the
//! newer one that the set-up script unpacked. When none does, the error names what was found instead.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::StackError;
use super::version::{Program, Version};

/// Where the set-up script puts what the system lacks, below the source tree.
const TOOLS: &str = ".counterfoil/tools/bin";

/// Directories in which programs are looked for, in order.
#[derive(Debug, Clone)]
pub struct SearchPath(Vec<PathBuf>);

impl SearchPath {
    /// Exactly these.
    pub fn of(dirs: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(dirs.into_iter().collect())
    }

    /// The source tree's tools (seen from the working directory and from our own program), `PATH`, and the places where
    /// packages put servers that they keep off the `PATH`.
    pub fn of_this_machine() -> Self {
        let above = [std::env::current_dir(), std::env::current_exe()]
            .into_iter()
            .flatten();
        let tools = above.flat_map(|start| start.ancestors().map(|dir| dir.join(TOOLS)).collect::<Vec<_>>());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let packaged = [
            "/usr/local/bin",
            "/opt/homebrew/bin",
            "/usr/local/sbin",
            "/usr/sbin",
        ]
        .map(PathBuf::from);
        let dirs = tools
            .chain(std::env::split_paths(&path))
            .chain(packaged)
            .chain(postgres_dirs());
        Self(dirs.filter(|dir| dir.is_dir()).collect())
    }

    /// These directories, and `other`'s after them.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    fn programs(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        self.0
            .iter()
            .map(move |dir| dir.join(name))
            .filter(|path| path.is_file())
    }
}

/// Debian and Homebrew keep one directory per major version of Postgres.
fn postgres_dirs() -> Vec<PathBuf> {
    let debian = Path::new("/usr/lib/postgresql")
        .read_dir()
        .into_iter()
        .flatten()
        .flatten();
    let debian = debian.map(|entry| entry.path().join("bin"));
    let brew = ["/opt/homebrew/opt", "/usr/local/opt"]
        .into_iter()
        .flat_map(|opt| {
            Program::POSTGRES_MAJORS.map(|major| PathBuf::from(format!("{opt}/postgresql@{major}/bin")))
        });
    debian.chain(brew).collect()
}

/// The programs of one start.
#[derive(Debug)]
pub(super) struct Binaries {
    pub postgres: PathBuf,
    pub initdb: PathBuf,
    pub nats: PathBuf,
    pub redis: PathBuf,
}

impl Binaries {
    /// Finds all of them; `cluster` is where Postgres's data lies, or will lie.
    pub fn find(search: &SearchPath, cluster: &Path) -> Result<Self, StackError> {
        let (nats, _) = find(search, Program::NATS)?;
        let (redis, _) = find(search, Program::REDIS)?;
        let (postgres, initdb) = find_postgres(search, cluster)?;
        Ok(Self {
            postgres,
            initdb,
            nats,
            redis,
        })
    }
}

fn find(search: &SearchPath, program: Program) -> Result<(PathBuf, Version), StackError> {
    let mut found = Vec::new();
    for path in search.programs(program.name) {
        match version_of(&path, program) {
            Some(version) if program.accepts(version) => return Ok((path, version)),
            Some(version) => found.push(format!("version {version} at {}", path.display())),
            None => found.push(format!("{} does not tell its version", path.display())),
        }
    }
    Err(StackError::NoUsableBinary {
        needed: program.needed,
        found,
    })
}

/// Existing data takes the major version that wrote it; new data the newest one installed.
fn find_postgres(search: &SearchPath, cluster: &Path) -> Result<(PathBuf, PathBuf), StackError> {
    let mut usable: Vec<(u32, PathBuf, PathBuf)> = Vec::new();
    for path in search.programs(Program::POSTGRES.name) {
        let Some(version) = version_of(&path, Program::POSTGRES).filter(|v| Program::POSTGRES.accepts(*v))
        else {
            continue;
        };
        // A link on the PATH leads to the directory that has initdb as well.
        let real = path.canonicalize().map_err(StackError::io("resolve", &path))?;
        let initdb = real.with_file_name("initdb");
        if initdb.is_file() {
            usable.push((version.major, real, initdb));
        }
    }
    let wanted = cluster_major(cluster);
    let best = usable
        .into_iter()
        .filter(|(major, ..)| wanted.is_none_or(|wanted| wanted == *major));
    match (best.max_by_key(|(major, ..)| *major), wanted) {
        (Some((_, postgres, initdb)), _) => Ok((postgres, initdb)),
        (None, Some(major)) => Err(StackError::ClusterVersion {
            dir: cluster.to_path_buf(),
            major,
        }),
        // Nothing of a fitting version: says what was found instead.
        (None, None) => Err(find(search, Program::POSTGRES)
            .err()
            .unwrap_or(StackError::NoUsableBinary {
                needed: Program::POSTGRES.needed,
                found: vec!["a postgres without its initdb".to_owned()],
            })),
    }
}

/// The major version that wrote the cluster, if there is one.
fn cluster_major(cluster: &Path) -> Option<u32> {
    std::fs::read_to_string(cluster.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn version_of(path: &Path, program: Program) -> Option<Version> {
    let output = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    program.read_version(&String::from_utf8_lossy(&output.stdout))
}
