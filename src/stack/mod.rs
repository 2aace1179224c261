//! The embedded servers: private Postgres, NATS (JetStream) and Redis as child processes under one data directory, and
//! where it is asked for, the key process of the vault.
//!
//! Contract: they listen on loopback only, on ports that are picked once and remembered, with generated credentials; a
//! second start finds its data; a second process on the same directory is refused; when this process dies, `kill -9`
//! included, they die with it and the next start goes on from their data. One that ends by itself is started again.
//! Works for root (Postgres runs as another user) and for ordinary users. `counterfoil up` and the tests use it.
//!
//! Read `supervisor.rs` for the order of things, `keeper.rs` for what happens when a server ends.

mod account;
mod binaries;
mod child;
mod credentials;
mod data_dir;
mod endpoints;
mod error;
mod files;
mod home;
mod keeper;
mod kms;
mod leftover;
mod logs;
mod nats;
mod ports;
mod postgres;
mod probe;
mod redis;
mod running;
#[cfg(test)]
mod scratch;
mod server;
mod site;
mod supervisor;
mod undo;
mod version;
mod watcher;

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tokio::sync::{oneshot, watch};

pub use binaries::SearchPath;
pub use endpoints::Endpoints;
pub use error::StackError;
pub use kms::kek_dir;
pub use server::{ServerKind, ServerState};
pub use undo::Before;

use keeper::{Ending, Order};
use supervisor::{ServerHandle, Started};

/// What a stack needs to start.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// Where everything lies. Made if absent.
    pub data_dir: PathBuf,
    /// Where the servers' programs are looked for.
    pub search_path: SearchPath,
    /// Postgres settings beyond ours, or instead of them.
    pub postgres_settings: Vec<(String, String)>,
    /// The program whose `kms serve` is the key process; none without it.
    pub key_process: Option<PathBuf>,
}

impl StackConfig {
    /// Programs of this machine, no settings of your own, no key process.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            search_path: SearchPath::of_this_machine(),
            postgres_settings: Vec::new(),
            key_process: None,
        }
    }
}

/// Running servers. Stop them with [`Stack::stop`]; dropping the value ends them at once (without harm to their data)
/// and does not wait for that.
#[derive(Debug)]
pub struct Stack {
    root: PathBuf,
    nats_store_dir: PathBuf,
    endpoints: Endpoints,
    servers: [ServerHandle; 4],
    ending: watch::Sender<Ending>,
    done: Option<oneshot::Receiver<()>>,
}

impl Stack {
    /// Starts the servers, making their data at the first start, and returns when all of them answer.
    pub async fn start(config: StackConfig) -> Result<Self, StackError> {
        let (started_tx, started) = oneshot::channel();
        let (done_tx, done) = oneshot::channel();
        let (ending, ending_rx) = watch::channel(Ending::No);
        let data_dir = config.data_dir.clone();
        std::thread::Builder::new()
            .name("stack".to_owned())
            .spawn(move || supervisor::run(&config, started_tx, ending_rx, done_tx))
            .map_err(StackError::io("start a thread for", &data_dir))?;
        // The thread answers unless it panicked.
        let Started {
            root,
            nats_store_dir,
            endpoints,
            servers,
        } = started.await.unwrap_or(Err(StackError::Stopped))?;
        Ok(Self {
            root,
            nats_store_dir,
            endpoints,
            servers,
            ending,
            done: Some(done),
        })
    }

    /// Where the servers listen, and what opens them.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The data directory, without links in its path.
    pub fn data_dir(&self) -> &Path {
        &self.root
    }

    /// The file with the generated passwords.
    pub fn credentials_file(&self) -> PathBuf {
        data_dir::credentials_file(&self.root)
    }

    /// Where JetStream keeps its streams; to be copied or replaced only while NATS is halted.
    pub fn nats_store_dir(&self) -> &Path {
        &self.nats_store_dir
    }

    /// Where each server stands now, but for the key process.
    pub fn states(&self) -> [(ServerKind, ServerState); 3] {
        ServerKind::ALL.map(|kind| (kind, self.state(kind)))
    }

    /// Where one server stands now.
    pub fn state(&self, kind: ServerKind) -> ServerState {
        self.handle(kind).state.borrow().clone()
    }

    /// Follows a server's state.
    pub fn watch(&self, kind: ServerKind) -> watch::Receiver<ServerState> {
        self.handle(kind).state.clone()
    }

    /// A server's process id, if it runs.
    pub fn pid(&self, kind: ServerKind) -> Option<u32> {
        match self.state(kind) {
            ServerState::Running { pid } => Some(pid),
            _ => None,
        }
    }

    /// Sends a signal to a server's process.
    pub async fn signal(&self, kind: ServerKind, signal: Signal) -> Result<(), StackError> {
        self.order(kind, |reply| Order::Signal(signal, reply)).await
    }

    /// Kills a server and returns when it is gone. It is started again, as after any unexpected end.
    pub async fn kill9(&self, kind: ServerKind) -> Result<(), StackError> {
        let mut state = self.watch(kind);
        let before = state.borrow_and_update().clone();
        self.signal(kind, Signal::SIGKILL).await?;
        state
            .wait_for(|now| *now != before)
            .await
            .map(drop)
            .map_err(|_| StackError::Stopped)
    }

    /// Stops a server gracefully and leaves it stopped.
    pub async fn halt(&self, kind: ServerKind) -> Result<(), StackError> {
        self.order(kind, Order::Halt).await
    }

    /// Starts a server that was halted (or waits for a restart), and returns when it answers.
    pub async fn resume(&self, kind: ServerKind) -> Result<(), StackError> {
        self.order(kind, Order::Start).await
    }

    /// Stops a server gracefully and starts it again.
    pub async fn restart(&self, kind: ServerKind) -> Result<(), StackError> {
        self.halt(kind).await?;
        self.resume(kind).await
    }

    /// Waits until a server runs. Bound the wait with a timeout: a server that cannot start is retried for ever.
    pub async fn running(&self, kind: ServerKind) -> Result<(), StackError> {
        let mut state = self.watch(kind);
        let runs = state
            .wait_for(|now| matches!(now, ServerState::Running { .. }))
            .await;
        runs.map(drop).map_err(|_| StackError::Stopped)
    }

    /// Stops all servers in order, each with time to finish, and returns when nothing runs and the data directory is
    /// free.
    pub async fn stop(mut self) {
        self.ending.send_replace(Ending::Graceful);
        if let Some(done) = self.done.take() {
            // An error means that the thread has ended, which is what is waited for.
            let _ended = done.await;
        }
    }

    async fn order(
        &self,
        kind: ServerKind,
        order: impl FnOnce(oneshot::Sender<Result<(), StackError>>) -> Order,
    ) -> Result<(), StackError> {
        let (reply, answer) = oneshot::channel();
        self.handle(kind)
            .orders
            .send(order(reply))
            .await
            .map_err(|_| StackError::Stopped)?;
        answer.await.unwrap_or(Err(StackError::Stopped))
    }

    fn handle(&self, kind: ServerKind) -> &ServerHandle {
        &self.servers[kind.index()]
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.ending.send_if_modified(|ending| {
            let running = *ending == Ending::No;
            if running {
                *ending = Ending::Immediate;
            }
            running
        });
    }
}
