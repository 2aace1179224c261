//! `counterfoil policies …`

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::json;

use super::super::exit::CliError;
use super::super::values::whole;
use super::Ask;
use super::call::{Call, ListArgs, Shown, TenantArg, text_of};

const COLUMNS: &[&str] = &["id", ">active", "active_since", ">latest"];
const VERSIONS: &[&str] = &["layer", ">version", ">tests", "published_at", "source"];

/// Whose policy: each layer must have an active one that allows.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Layer {
    Organisation,
    Tenant,
}

/// Commands on policies.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  counterfoil policies publish tenant policy.rego --tenant TENANT\n  \
    counterfoil policies activate tenant 1 --tenant TENANT\n\n\
    Each layer, organisation and tenant, needs an active policy that allows: one with nothing active denies.\n\
    The organisation's is published for its home tenant, and binds all its tenants."
)]
pub enum PoliciesCommand {
    /// Both layers, with their active versions
    List {
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// One layer
    Get {
        /// Which layer
        layer: Layer,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Every version that was published
    Versions {
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// A version's Rego, as it was published
    Show {
        /// Which layer
        layer: Layer,
        /// Which version
        #[arg(value_parser = whole::<u32>(1..=u32::MAX.into()))]
        version: u32,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// A new version; it is compiled and runs its own tests, and is not active yet
    Publish {
        /// Which layer
        layer: Layer,
        /// Rego; `-` for stdin
        file: PathBuf,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Let a version decide from now on
    Activate {
        /// Which layer
        layer: Layer,
        /// Which version
        #[arg(value_parser = whole::<u32>(1..=u32::MAX.into()))]
        version: u32,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Let a version that was active before decide again
    Rollback {
        /// Which layer
        layer: Layer,
        /// Which version; the one before the active one, if not given
        #[arg(long, value_name = "VERSION", value_parser = whole::<u32>(1..=u32::MAX.into()))]
        to: Option<u32>,
        #[command(flatten)]
        tenant: TenantArg,
    },
}

impl Ask for PoliciesCommand {
    fn call(self) -> Result<Call, CliError> {
        let one = |tenant: &TenantArg, layer: Layer| {
            tenant.path(match layer {
                Layer::Organisation => "policies/organisation",
                Layer::Tenant => "policies/tenant",
            })
        };
        Ok(match self {
            Self::List { tenant, list } => {
                Call::list(tenant.path("policies"), &list, COLUMNS, "no policies yet")
            }
            Self::Get { layer, tenant } => Call::get(one(&tenant, layer)),
            Self::Versions { tenant, list } => {
                Call::list(tenant.path("policy-versions"), &list, VERSIONS, "no versions yet")
            }
            Self::Show {
                layer,
                version,
                tenant,
            } => {
                let path = format!("{}/versions/{version}", one(&tenant, layer));
                Call::get(path).shown(Shown::Text("source"))
            }
            Self::Publish { layer, file, tenant } => {
                let body = json!({"source": text_of(&file)?});
                Call::command(Method::POST, one(&tenant, layer) + "/versions", body)
            }
            Self::Activate {
                layer,
                version,
                tenant,
            } => {
                let path = format!("{}/versions/{version}/activate", one(&tenant, layer));
                Call::bare(Method::POST, path)
            }
            Self::Rollback { layer, to, tenant } => {
                Call::command(Method::POST, one(&tenant, layer) + "/rollback", json!({"to": to}))
            }
        })
    }
}
