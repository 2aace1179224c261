//! `counterfoil agents …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::exit::CliError;
use super::super::values::whole;
use super::Ask;
use super::call::{Call, ListArgs, ReasonArg, TenantArg, json_of, segment};

const COLUMNS: &[&str] = &["id", "name", "risk_tier", "models", "suspended", "registered_at"];

/// Commands on agents.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  counterfoil agents register --tenant TENANT --name helper --owner 'Claims team' \\\n    \
    --purpose 'Drafts replies' --model demo-small --risk-tier limited\n  \
    counterfoil agents keys issue AGENT --tenant TENANT"
)]
pub enum AgentsCommand {
    /// All of a tenant's
    List {
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// One, whole
    Get {
        /// Its id
        agent: String,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// A new one
    Register {
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        card: CardArgs,
    },
    /// Another spec card, whole
    Change {
        /// Its id
        agent: String,
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        card: CardArgs,
    },
    /// Let it do nothing from now on
    Suspend {
        /// Its id
        agent: String,
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        reason: ReasonArg,
    },
    /// Let it go on
    Resume {
        /// Its id
        agent: String,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Its API keys
    #[command(subcommand)]
    Keys(AgentKeysCommand),
}

/// Commands on an agent's API keys.
#[derive(Debug, Subcommand)]
pub enum AgentKeysCommand {
    /// A new key; it is shown this once
    Issue {
        /// The agent's id
        agent: String,
        #[command(flatten)]
        tenant: TenantArg,
        /// When it stops working, such as 2027-01-01T00:00:00.000000Z; never, if not given
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    /// A new key in place of one that goes on working for a while; it is shown this once
    Rotate {
        /// The agent's id
        agent: String,
        /// The key that it replaces
        key: String,
        #[command(flatten)]
        tenant: TenantArg,
        /// How long the old key goes on working, at most 604800 (a week)
        #[arg(long, value_name = "SECONDS", value_parser = whole::<u32>(0..=u32::MAX.into()))]
        grace_s: u32,
    },
    /// Refuse a key from now on
    Revoke {
        /// The agent's id
        agent: String,
        /// The key's id
        key: String,
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        reason: ReasonArg,
    },
}

/// A spec card, from flags or from a file.
#[derive(Debug, Args)]
pub struct CardArgs {
    /// The card as a JSON file; `-` for stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "owner", "purpose", "model", "tool_scope", "risk_tier"])]
    file: Option<PathBuf>,
    /// What people call it
    #[arg(long, required_unless_present = "file")]
    name: Option<String>,
    /// Who answers for it
    #[arg(long, required_unless_present = "file")]
    owner: Option<String>,
    /// What it is for
    #[arg(long, required_unless_present = "file")]
    purpose: Option<String>,
    /// A model that it may use; may be repeated
    #[arg(long, value_name = "MODEL")]
    model: Vec<String>,
    /// A tool that it may use; may be repeated
    #[arg(long, value_name = "SCOPE")]
    tool_scope: Vec<String>,
    /// minimal, limited or high
    #[arg(long, required_unless_present = "file")]
    risk_tier: Option<String>,
}

impl CardArgs {
    fn body(self) -> Result<Value, CliError> {
        match self.file {
            Some(path) => json_of(&path),
            None => Ok(json!({
                "name": self.name, "owner": self.owner, "purpose": self.purpose, "models": self.model,
                "tool_scopes": self.tool_scope, "risk_tier": self.risk_tier,
            })),
        }
    }
}

impl Ask for AgentsCommand {
    fn call(self) -> Result<Call, CliError> {
        let one = |tenant: &TenantArg, agent: &str| tenant.path(&format!("agents/{}", segment(agent)));
        Ok(match self {
            Self::List { tenant, list } => Call::list(tenant.path("agents"), &list, COLUMNS, "no agents yet"),
            Self::Get { agent, tenant } => Call::get(one(&tenant, &agent)),
            Self::Register { tenant, card } => {
                Call::command(Method::POST, tenant.path("agents"), card.body()?)
            }
            Self::Change { agent, tenant, card } => {
                Call::command(Method::PUT, one(&tenant, &agent), card.body()?)
            }
            Self::Suspend {
                agent,
                tenant,
                reason,
            } => Call::command(Method::POST, one(&tenant, &agent) + "/suspend", reason.body()),
            Self::Resume { agent, tenant } => Call::bare(Method::POST, one(&tenant, &agent) + "/resume"),
            Self::Keys(AgentKeysCommand::Issue {
                agent,
                tenant,
                expires_at,
            }) => {
                let body = json!({"expires_at": expires_at});
                Call::command(Method::POST, one(&tenant, &agent) + "/keys", body)
            }
            Self::Keys(AgentKeysCommand::Rotate {
                agent,
                key,
                tenant,
                grace_s,
            }) => {
                let path = format!("{}/keys/{}/rotate", one(&tenant, &agent), segment(&key));
                Call::command(Method::POST, path, json!({"grace_s": grace_s}))
            }
            Self::Keys(AgentKeysCommand::Revoke {
                agent,
                key,
                tenant,
                reason,
            }) => {
                let path = format!("{}/keys/{}/revoke", one(&tenant, &agent), segment(&key));
                Call::command(Method::POST, path, reason.body())
            }
        })
    }
}
