//! `counterfoil issuers …`

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::super::exit::CliError;
use super::Ask;
use super::call::{Call, ListArgs, ReasonArg, segment};
use super::place::UpperPlaceArg;

const COLUMNS: &[&str] = &["id", "url", "audience", "tenant_claim", "suspended"];

/// Commands on issuers.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  counterfoil issuers create --organisation ORGANISATION \\\n    \
    --issuer-url https://login.acme.example/realms/acme --audience counterfoil --tenant-claim counterfoil_tenant"
)]
pub enum IssuersCommand {
    /// Where users of a place sign in
    List {
        #[command(flatten)]
        place: UpperPlaceArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Let users sign in by an issuer
    Create {
        #[command(flatten)]
        place: UpperPlaceArg,
        /// Its name in its tokens (`iss`); below it is /.well-known/openid-configuration
        #[arg(long, value_name = "URL")]
        issuer_url: String,
        /// For whom its tokens must be (`aud`), such as the client id that it gave
        #[arg(long)]
        audience: String,
        /// The claim that names the tenant to which a token is bound
        #[arg(long, value_name = "CLAIM")]
        tenant_claim: Option<String>,
    },
    /// Let another claim name the tenant, or none
    Change {
        /// Its id
        issuer: String,
        #[command(flatten)]
        place: UpperPlaceArg,
        /// The claim; without it, none
        #[arg(long, value_name = "CLAIM")]
        tenant_claim: Option<String>,
    },
    /// Let nobody sign in by it
    Suspend {
        /// Its id
        issuer: String,
        #[command(flatten)]
        place: UpperPlaceArg,
        #[command(flatten)]
        reason: ReasonArg,
    },
    /// Let it go on
    Resume {
        /// Its id
        issuer: String,
        #[command(flatten)]
        place: UpperPlaceArg,
    },
}

impl Ask for IssuersCommand {
    fn call(self) -> Result<Call, CliError> {
        let of = |place: &UpperPlaceArg, issuer: &str, rest: &str| {
            place.path(&format!("issuers/{}{rest}", segment(issuer)))
        };
        Ok(match self {
            Self::List { place, list } => Call::list(
                place.path("issuers"),
                &list,
                COLUMNS,
                "nobody signs in here by an issuer",
            ),
            Self::Create {
                place,
                issuer_url,
                audience,
                tenant_claim,
            } => Call::command(
                Method::POST,
                place.path("issuers"),
                json!({ "url": issuer_url, "audience": audience, "tenant_claim": tenant_claim }),
            ),
            Self::Change {
                issuer,
                place,
                tenant_claim,
            } => Call::command(
                Method::PATCH,
                of(&place, &issuer, ""),
                json!({ "tenant_claim": tenant_claim }),
            ),
            Self::Suspend {
                issuer,
                place,
                reason,
            } => Call::command(Method::POST, of(&place, &issuer, "/suspend"), reason.body()),
            Self::Resume { issuer, place } => Call::bare(Method::POST, of(&place, &issuer, "/resume")),
        })
    }
}
