//! Child processes of the bench: the same program in a role of its own.
//!
//! A worker reads its role from the environment, says `ready` on standard output, waits for a line on standard input,
//! works, and prints what it measured as one line of JSON.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use counterfoil::config::{Config, Sources};
use counterfoil_events::ids::TenantId;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::runtime::{Builder, Runtime};

use crate::agents;
use crate::load::{Sample, crowd};
use crate::site::Engine;
use crate::workload;

const VARIABLE: &str = "COUNTERFOIL_BENCH_ROLE";

/// What a worker does.
#[derive(Debug, Serialize, Deserialize)]
pub enum Role {
    /// Appends runs to a tenant's log through a command path of its own.
    Append {
        config: PathBuf,
        tenant: TenantId,
        tasks: usize,
        length: Duration,
    },
    /// Registers and suspends agents over HTTP, as fast as it goes.
    Agents {
        address: SocketAddr,
        tenant: String,
        connections: usize,
        length: Duration,
    },
    /// Suspends and resumes agents over HTTP at a steady pace.
    Paced {
        address: SocketAddr,
        tenant: String,
        connections: usize,
        per_s: u32,
        length: Duration,
    },
}

/// The role of this process, if it is a worker.
pub fn role() -> Option<anyhow::Result<Role>> {
    let text = std::env::var(VARIABLE).ok()?;
    Some(serde_json::from_str(&text).context("the worker's role"))
}

impl Role {
    /// Works.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Append {
                config,
                tenant,
                tasks,
                length,
            } => append(config, tenant, tasks, length).await,
            Self::Agents {
                address,
                tenant,
                connections,
                length,
            } => {
                begin().await?;
                let work = |_, meter| agents::register_and_suspend(address, tenant.clone(), meter);
                say(&crowd(connections, length, work).await?)
            }
            Self::Paced {
                address,
                tenant,
                connections,
                per_s,
                length,
            } => {
                begin().await?;
                let each = f64::from(per_s) / connections as f64;
                let work = |_, meter| agents::to_and_fro(address, tenant.clone(), each, meter);
                say(&crowd(connections, length, work).await?)
            }
        }
    }

    /// Load over HTTP comes from one thread, so that it leaves to the server what it can.
    pub fn runtime(&self) -> std::io::Result<Runtime> {
        match self {
            Self::Append { .. } => Builder::new_multi_thread(),
            Self::Agents { .. } | Self::Paced { .. } => Builder::new_current_thread(),
        }
        .enable_all()
        .build()
    }
}

/// Waits to be told to begin.
async fn begin() -> anyhow::Result<()> {
    println!("ready");
    let waiting = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    waiting.await??;
    Ok(())
}

fn say(sample: &Sample) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(sample)?);
    Ok(())
}

async fn append(config: PathBuf, tenant: TenantId, tasks: usize, length: Duration) -> anyhow::Result<()> {
    let engine = Engine::start(&Config::load(Sources::default().file(Some(config)))?).await?;
    let work = |length| {
        let commands = engine.commands.clone();
        crowd(tasks, length, move |_, meter| {
            let commands = commands.clone();
            async move { workload::runs(&commands, tenant, meter).await }
        })
    };
    work(Duration::from_millis(200)).await?;
    begin().await?;
    say(&work(length).await?)?;
    engine.stop().await;
    Ok(())
}

/// A running worker; it dies with this value.
pub struct Worker {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts one and waits until it is ready.
    pub async fn start(role: &Role) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(VARIABLE, serde_json::to_string(role)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut worker = Self { child, lines };
        let ready = worker.lines.next_line().await?;
        anyhow::ensure!(
            ready.as_deref() == Some("ready"),
            "a worker did not start: {ready:?}"
        );
        Ok(worker)
    }

    /// Lets it begin.
    pub async fn begin(&mut self) -> anyhow::Result<()> {
        let input = self.child.stdin.as_mut().context("its input")?;
        input.write_all(b"\n").await?;
        Ok(input.flush().await?)
    }

    /// What it measured.
    pub async fn end(mut self) -> anyhow::Result<Sample> {
        let line = self
            .lines
            .next_line()
            .await?
            .context("a worker ended without a figure")?;
        self.child.wait().await?;
        Ok(serde_json::from_str(&line)?)
    }
}
