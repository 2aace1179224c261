//! `counterfoil organisations …`

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::super::exit::CliError;
use super::Ask;
use super::call::{Call, ListArgs, ReasonArg, segment};

const COLUMNS: &[&str] = &["id", "kind", "name", "home_tenant", "suspended", "created_at"];

/// Commands on organisations.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  counterfoil organisations create --kind carrier --name 'Northsea Mutual'"
)]
pub enum OrganisationsCommand {
    /// All of them
    List(ListArgs),
    /// One, whole
    Get {
        /// Its id
        organisation: String,
    },
    /// A new one, with its home tenant
    #[command(after_help = "Example:\n  counterfoil organisations create --kind company --name Example")]
    Create {
        /// carrier, group or company
        #[arg(long)]
        kind: String,
        /// What people call it
        #[arg(long)]
        name: String,
    },
    /// Another name
    Rename {
        /// Its id
        organisation: String,
        /// What people call it
        #[arg(long)]
        name: String,
    },
    /// Stop everything in it
    Suspend {
        /// Its id
        organisation: String,
        #[command(flatten)]
        reason: ReasonArg,
    },
    /// Let it go on
    Resume {
        /// Its id
        organisation: String,
    },
}

impl Ask for OrganisationsCommand {
    fn call(self) -> Result<Call, CliError> {
        let one = |id: &str| format!("/v1/organisations/{}", segment(id));
        let all = "/v1/organisations".to_owned();
        Ok(match self {
            Self::List(args) => Call::list(all, &args, COLUMNS, "no organisations yet"),
            Self::Get { organisation } => Call::get(one(&organisation)),
            Self::Create { kind, name } => {
                Call::command(Method::POST, all, json!({"kind": kind, "name": name}))
            }
            Self::Rename { organisation, name } => {
                Call::command(Method::PATCH, one(&organisation), json!({"name": name}))
            }
            Self::Suspend { organisation, reason } => {
                Call::command(Method::POST, one(&organisation) + "/suspend", reason.body())
            }
            Self::Resume { organisation } => Call::bare(Method::POST, one(&organisation) + "/resume"),
        })
    }
}
