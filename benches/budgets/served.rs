//! The real program: `counterfoil serve` as a child process, and what the system says of its memory.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::http::Client;
use crate::site::{Installation, TOKEN};

/// A running `counterfoil serve`; it dies with this value.
pub struct Served {
    child: Child,
    pub address: SocketAddr,
}

impl Served {
    /// Starts it on an installation and waits until it is ready. `roles` as on its command line; all, if empty.
    pub async fn start(installation: &Installation, roles: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
        command.arg("--config").arg(&installation.file).arg("serve");
        if !roles.is_empty() {
            command.args(["--role", roles]);
        }
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        let line = lines.next_line().await?.context("counterfoil did not start")?;
        let address = line.rsplit('/').next().unwrap_or_default().parse()?;
        let served = Self { child, address };
        served.ready().await?;
        Ok(served)
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let mut client = self.client().await?;
        for _ in 0..600 {
            if client.send("GET /ready", None, "").await?.status == 200 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("counterfoil was not ready within 30 s")
    }

    /// A connection as administrator.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Client::connect(self.address, TOKEN).await
    }

    /// Its resident memory in MiB, now.
    pub fn memory_mib(&self) -> anyhow::Result<f64> {
        let pid = self.child.id().context("it has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        Ok(kib.context("VmRSS")? / 1024.0)
    }

    /// Asks it to end, and waits.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().context("it has ended")?;
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM)?;
        let status = self.child.wait().await?;
        anyhow::ensure!(status.success(), "counterfoil ended with {status}");
        Ok(())
    }
}

/// An organisation; answers its home tenant.
pub async fn tenant(client: &mut Client) -> anyhow::Result<String> {
    let made = client
        .call(
            "POST /v1/organisations",
            &json!({"kind": "company", "name": "Bench"}),
        )
        .await?;
    text(&made, "home_tenant")
}

/// An agent's spec card.
pub fn card() -> Value {
    json!({
        "name": "claims helper", "owner": "Claims team", "purpose": "Drafts replies to claimants",
        "models": ["demo-small", "bench-model"], "tool_scopes": ["crm.contacts:read"], "risk_tier": "limited",
    })
}

/// An agent with a key; answers the key.
pub async fn agent_key(client: &mut Client, tenant: &str) -> anyhow::Result<String> {
    let agents = format!("/v1/tenants/{tenant}/agents");
    let agent = client.call(&format!("POST {agents}"), &card()).await?;
    let keys = format!("POST {agents}/{}/keys", text(&agent, "id")?);
    text(&client.call(&keys, &json!({})).await?, "api_key")
}

/// Publishes and activates a policy in one layer.
pub async fn policy(client: &mut Client, tenant: &str, layer: &str, source: &str) -> anyhow::Result<()> {
    let versions = format!("POST /v1/tenants/{tenant}/policies/{layer}/versions");
    client.call(&versions, &json!({ "source": source })).await?;
    client
        .call(&format!("{versions}/1/activate"), &Value::Null)
        .await?;
    Ok(())
}

fn text(value: &Value, member: &str) -> anyhow::Result<String> {
    Ok(value[member]
        .as_str()
        .with_context(|| format!("no {member} in {value}"))?
        .to_owned())
}
