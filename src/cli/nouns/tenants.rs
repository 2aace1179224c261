//! `counterfoil tenants …`

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::super::exit::CliError;
use super::Ask;
use super::call::{Call, ListArgs, ReasonArg, segment};

const COLUMNS: &[&str] = &["id", "organisation", "name", "home", "suspended", "created_at"];

/// Commands on tenants.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  counterfoil tenants create --organisation ORGANISATION --name 'Harbour Logistics'"
)]
pub enum TenantsCommand {
    /// All of them
    List(ListArgs),
    /// One, whole
    Get {
        /// Its id
        tenant: String,
    },
    /// A new one
    Create {
        /// Whose it is
        #[arg(long, value_name = "ORGANISATION")]
        organisation: String,
        /// What people call it
        #[arg(long)]
        name: String,
    },
    /// Another name
    Rename {
        /// Its id
        tenant: String,
        /// What people call it
        #[arg(long)]
        name: String,
    },
    /// Stop everything in it
    Suspend {
        /// Its id
        tenant: String,
        #[command(flatten)]
        reason: ReasonArg,
    },
    /// End it for good; it is kept until a date
    Close {
        /// Its id
        tenant: String,
        #[command(flatten)]
        reason: ReasonArg,
        /// Until when it is kept, such as 2036-12-31T23:00:00.000000Z
        #[arg(long, value_name = "TIME")]
        retain_until: String,
    },
    /// Destroy its secrets and what links people to it, after that date; its log stays
    Erase {
        /// Its id
        tenant: String,
    },
    /// Let it go on
    Resume {
        /// Its id
        tenant: String,
    },
    /// Let a carrier carry a share of its risk
    #[command(after_help = "Example:\n  counterfoil tenants carry TENANT --carrier CARRIER --share 0.6")]
    Carry {
        /// Its id
        tenant: String,
        /// The carrier's organisation
        #[arg(long, value_name = "ORGANISATION")]
        carrier: String,
        /// A decimal above 0 and up to 1
        #[arg(long, value_name = "SHARE")]
        share: String,
    },
    /// End what a carrier carries
    Release {
        /// Its id
        tenant: String,
        /// The carrier's organisation
        #[arg(long, value_name = "ORGANISATION")]
        carrier: String,
    },
    /// Say how much is at risk
    #[command(
        after_help = "Example, a million euros:\n  counterfoil tenants exposure TENANT --micros 1000000000000 --currency EUR"
    )]
    Exposure {
        /// Its id
        tenant: String,
        /// The amount, in millionths of the currency's unit
        #[arg(long, value_name = "N")]
        micros: String,
        /// ISO 4217 code
        #[arg(long, value_name = "CODE")]
        currency: String,
    },
}

impl Ask for TenantsCommand {
    fn call(self) -> Result<Call, CliError> {
        let one = |id: &str| format!("/v1/tenants/{}", segment(id));
        let carried = |id: &str, carrier: &str| format!("{}/carriers/{}", one(id), segment(carrier));
        let all = "/v1/tenants".to_owned();
        Ok(match self {
            Self::List(args) => Call::list(all, &args, COLUMNS, "no tenants yet"),
            Self::Get { tenant } => Call::get(one(&tenant)),
            Self::Create { organisation, name } => Call::command(
                Method::POST,
                all,
                json!({"organisation": organisation, "name": name}),
            ),
            Self::Rename { tenant, name } => {
                Call::command(Method::PATCH, one(&tenant), json!({"name": name}))
            }
            Self::Suspend { tenant, reason } => {
                Call::command(Method::POST, one(&tenant) + "/suspend", reason.body())
            }
            Self::Close {
                tenant,
                reason,
                retain_until,
            } => {
                let mut body = reason.body();
                body["retain_until"] = retain_until.into();
                Call::command(Method::POST, one(&tenant) + "/close", body)
            }
            Self::Erase { tenant } => Call::bare(Method::POST, one(&tenant) + "/erase"),
            Self::Resume { tenant } => Call::bare(Method::POST, one(&tenant) + "/resume"),
            Self::Carry {
                tenant,
                carrier,
                share,
            } => Call::command(Method::PUT, carried(&tenant, &carrier), json!({"share": share})),
            Self::Release { tenant, carrier } => Call::bare(Method::DELETE, carried(&tenant, &carrier)),
            Self::Exposure {
                tenant,
                micros,
                currency,
            } => {
                let amount = json!({"amount": {"micros": micros, "currency": currency}});
                Call::command(Method::PUT, one(&tenant) + "/exposure", amount)
            }
        })
    }
}
