//! `counterfoil subscribers …`: credentials by which a tenant's programs follow its log over NATS.

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::super::exit::CliError;
use super::super::values::whole;
use super::Ask;
use super::call::{Call, ReasonArg, TenantArg, segment};

/// Commands on subscribers.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  counterfoil subscribers issue --for-s 3600 --tenant TENANT\n  \
    nats --server … --user USER --password PASSWORD consumer next STREAM CONSUMER\n\n\
    A credential reaches its own tenant's events and nothing else; every tenant's own logins end by themselves."
)]
pub enum SubscribersCommand {
    /// Issue a credential, shown this once
    Issue {
        /// For so many seconds, 12 hours at the most
        #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = whole::<u32>(0..=u32::MAX.into()))]
        for_s: u32,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Let a credential stop working
    Revoke {
        /// The credential's id
        credential: String,
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        reason: ReasonArg,
    },
}

impl Ask for SubscribersCommand {
    fn call(self) -> Result<Call, CliError> {
        Ok(match self {
            Self::Issue { for_s, tenant } => Call::command(
                Method::POST,
                tenant.path("subscribers"),
                json!({ "for_s": for_s }),
            ),
            Self::Revoke {
                credential,
                tenant,
                reason,
            } => {
                let path = tenant.path(&format!("subscribers/{}/revoke", segment(&credential)));
                Call::command(Method::POST, path, reason.body())
            }
        })
    }
}
