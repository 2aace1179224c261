//! `counterfoil origin …`

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::super::exit::CliError;
use super::super::values::whole;
use super::Ask;
use super::call::{Call, ReasonArg};

/// Commands on the proof of origin.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  counterfoil origin suspend --for-s 900 --reason edge_down")]
pub enum OriginCommand {
    /// Answer requests without proof of origin for a while: for when the edge is down
    Suspend {
        /// For so many seconds from now, at most 3600
        #[arg(long, value_name = "SECONDS", value_parser = whole::<u32>(0..=u32::MAX.into()))]
        for_s: u32,
        /// A stable code of yours, such as edge_down; it stands in the log
        #[arg(long, value_name = "CODE")]
        reason: String,
    },
    /// Ask for proof again, before that time
    Restore {
        #[command(flatten)]
        reason: ReasonArg,
    },
}

impl Ask for OriginCommand {
    fn call(self) -> Result<Call, CliError> {
        let path = |what: &str| format!("/v1/platform/origin/{what}");
        Ok(match self {
            Self::Suspend { for_s, reason } => {
                let body = json!({"for_s": for_s, "reason": reason});
                Call::command(Method::POST, path("suspend"), body)
            }
            Self::Restore { reason } => Call::command(Method::POST, path("restore"), reason.body()),
        })
    }
}
