//! The thread that owns the servers. It lives as long as the stack, because a parent-death signal is sent when the
//! *thread* that spawned dies; all launches, restarts included, happen on it. It runs these steps:
//!
//! 1. prepare: lock the data directory, find the programs, load or make credentials, end leftovers of a crash;
//! 2. start the servers side by side, and hand their addresses to the caller;
//! 3. keep them, one keeper each, until the stack ends;
//! 4. stop NATS, Redis and the key process, then Postgres; the lock goes last.

use std::cell::RefCell;
use std::path::PathBuf;

use futures::future::join_all;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::endpoints::Endpoints;
use super::error::StackError;
use super::keeper::{Ending, Keeper, Order, bring_up};
use super::ports::{self, Ports};
use super::running::Running;
use super::server::{ServerKind, ServerSpec, ServerState};
use super::site::Site;
use super::{StackConfig, nats};

/// Starts of one server, each with another port, when somebody takes the port between our look and the server's.
const PORT_TRIES: u32 = 3;
const ORDERS_QUEUED: usize = 16;

/// The caller's ends of one keeper's channels.
#[derive(Debug)]
pub(super) struct ServerHandle {
    pub orders: mpsc::Sender<Order>,
    pub state: watch::Receiver<ServerState>,
}

impl ServerHandle {
    /// Of a server that this stack does not have: stopped, and it takes no orders.
    fn none() -> Self {
        let (orders, _) = mpsc::channel(1);
        let (_, state) = watch::channel(ServerState::Stopped);
        Self { orders, state }
    }
}

/// What the caller of a start gets.
#[derive(Debug)]
pub(super) struct Started {
    pub root: PathBuf,
    pub nats_store_dir: PathBuf,
    pub endpoints: Endpoints,
    /// In the order of [`ServerKind`].
    pub servers: [ServerHandle; 4],
}

/// One server that was brought up.
type Up = (ServerSpec, Running);

/// The body of the thread. `done` is told when nothing runs any more and the lock is free.
pub(super) fn run(
    config: &StackConfig,
    started: oneshot::Sender<Result<Started, StackError>>,
    ending: watch::Receiver<Ending>,
    done: oneshot::Sender<()>,
) {
    // Current-thread, so that every launch happens on this very thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(StackError::io("start a runtime for", &config.data_dir)) {
        Ok(runtime) => runtime.block_on(supervise(config, started, ending)),
        Err(e) => drop(started.send(Err(e))),
    }
    // Nobody waits when the stack was dropped rather than stopped.
    let _nobody_waits = done.send(());
}

async fn supervise(
    config: &StackConfig,
    started: oneshot::Sender<Result<Started, StackError>>,
    ending: watch::Receiver<Ending>,
) {
    let site = match Site::prepare(config).await {
        Ok(site) => site,
        Err(e) => return drop(started.send(Err(e))),
    };
    let servers = match start(&site, &ending).await {
        Ok(servers) => servers,
        Err(e) => {
            // Whoever hears of the failure may try again at once, so the lock must be free by then.
            drop(site);
            return drop(started.send(Err(e)));
        }
    };
    let Servers { ported, kms } = servers;
    let socket = kms.is_some().then(|| site.data_dir.kms_socket());
    let endpoints = Endpoints::new(
        ported.each_ref().map(|(spec, _)| spec.port),
        socket,
        &site.credentials,
    );
    let [(postgres, to_postgres), (nats, to_nats), (redis, to_redis)] = ported.map(Kept::spawn);
    let (kms, to_kms) = kms.map(Kept::spawn).unzip();
    let handover = Started {
        root: site.data_dir.root().to_path_buf(),
        nats_store_dir: nats::store_dir(&site.data_dir),
        endpoints,
        servers: [
            to_postgres,
            to_nats,
            to_redis,
            to_kms.unwrap_or_else(ServerHandle::none),
        ],
    };
    // A caller that has gone dropped the other end of `ending` as well, which ends everything at once.
    let _caller_gone = started.send(Ok(handover));
    end(postgres, [nats, redis].into_iter().chain(kms).collect(), ending).await;
}

/// All servers, brought up.
struct Servers {
    /// In the order of [`ServerKind::ALL`].
    ported: [Up; 3],
    kms: Option<Up>,
}

/// Starts all of them. If one fails the others are ended again, and its error is the answer.
async fn start(site: &Site, ending: &watch::Receiver<Ending>) -> Result<Servers, StackError> {
    let ports = RefCell::new(Ports::load(&site.data_dir)?);
    let (postgres, nats, redis, kms) = tokio::join!(
        start_one(ServerKind::Postgres, site, &ports, ending.clone()),
        start_one(ServerKind::Nats, site, &ports, ending.clone()),
        start_one(ServerKind::Redis, site, &ports, ending.clone()),
        start_key_process(site, ending.clone()),
    );
    match (postgres, nats, redis, kms) {
        (Ok(postgres), Ok(nats), Ok(redis), Ok(kms)) => Ok(Servers {
            ported: [postgres, nats, redis],
            kms,
        }),
        (postgres, nats, redis, kms) => {
            let mut first_error = None;
            for result in [postgres, nats, redis].into_iter().chain(kms.transpose()) {
                match result {
                    Ok((spec, running)) => running.end_at_once(&spec).await,
                    Err(e) => drop(first_error.get_or_insert(e)),
                }
            }
            Err(first_error.unwrap_or(StackError::Stopped))
        }
    }
}

async fn start_key_process(
    site: &Site,
    mut ending: watch::Receiver<Ending>,
) -> Result<Option<Up>, StackError> {
    let Some(spec) = site.key_process() else {
        return Ok(None);
    };
    let running = bring_up(&spec, &mut ending).await?;
    Ok(Some((spec, running)))
}

async fn start_one(
    kind: ServerKind,
    site: &Site,
    ports: &RefCell<Ports>,
    mut ending: watch::Receiver<Ending>,
) -> Result<Up, StackError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let port = ports.borrow_mut().claim(kind)?;
        let spec = site.spec(kind, port).await?;
        match bring_up(&spec, &mut ending).await {
            Ok(running) => return Ok((spec, running)),
            Err(StackError::Exited { .. }) if tries < PORT_TRIES && !ports::is_free(port) => {}
            Err(e) => return Err(e),
        }
    }
}

/// A keeper at work.
struct Kept {
    task: JoinHandle<()>,
    ending: watch::Sender<Ending>,
}

impl Kept {
    fn spawn((spec, running): Up) -> (Self, ServerHandle) {
        let (state_tx, state) = watch::channel(ServerState::Running { pid: running.pid });
        let (orders, orders_rx) = mpsc::channel(ORDERS_QUEUED);
        let (ending, ending_rx) = watch::channel(Ending::No);
        let keeper = Keeper::new(spec, state_tx, orders_rx, ending_rx);
        let task = tokio::spawn(keeper.keep(running));
        (Self { task, ending }, ServerHandle { orders, state })
    }

    async fn end(self, how: Ending) {
        self.ending.send_replace(how);
        if let Err(e) = self.task.await {
            tracing::error!(error = %e, "a keeper of a server failed");
        }
    }
}

/// Waits for the end, then ends the servers: the others hold copies or nothing, so Postgres goes last.
async fn end(postgres: Kept, others: Vec<Kept>, mut ending: watch::Receiver<Ending>) {
    let how = ending
        .wait_for(|how| *how != Ending::No)
        .await
        .map_or(Ending::Immediate, |how| *how);
    let others = join_all(others.into_iter().map(|kept| kept.end(how)));
    if how == Ending::Immediate {
        tokio::join!(postgres.end(how), others);
    } else {
        others.await;
        postgres.end(how).await;
    }
}
