//! `counterfoil members …`

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::super::exit::CliError;
use super::Ask;
use super::call::{Call, ListArgs, segment};
use super::place::PlaceArg;

const COLUMNS: &[&str] = &["id", "roles"];

/// Commands on members.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  counterfoil members grant USER organisation_admin --organisation ORGANISATION\n  \
    counterfoil members list --organisation ORGANISATION\n\n\
    Which roles there are, and what each may do: docs/permissions.md"
)]
pub enum MembersCommand {
    /// Who has which roles at just this place
    List {
        #[command(flatten)]
        place: PlaceArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Give a user a role at a place
    Grant {
        /// The user's id
        user: String,
        /// Such as tenant_admin
        role: String,
        #[command(flatten)]
        place: PlaceArg,
    },
    /// Take a role at a place away
    Revoke {
        /// The user's id
        user: String,
        /// Such as tenant_admin
        role: String,
        #[command(flatten)]
        place: PlaceArg,
    },
    /// Let a user administer instead of the bootstrap token, which is refused from then on
    #[command(
        after_help = "The user must be a person who signs in at an issuer of the platform:\n  \
        counterfoil issuers create --platform --issuer-url URL --audience AUDIENCE\n  \
        counterfoil users link USER --issuer ISSUER --subject-file FILE\n  \
        counterfoil members take-over USER"
    )]
    TakeOver {
        /// The user's id
        user: String,
    },
}

impl Ask for MembersCommand {
    fn call(self) -> Result<Call, CliError> {
        let of = |place: &PlaceArg, user: &str, role: &str| {
            place.path(&format!("members/{}/roles/{}", segment(user), segment(role)))
        };
        Ok(match self {
            Self::List { place, list } => {
                Call::list(place.path("members"), &list, COLUMNS, "nobody has a role here")
            }
            Self::Grant { user, role, place } => Call::bare(Method::PUT, of(&place, &user, &role)),
            Self::Revoke { user, role, place } => Call::bare(Method::DELETE, of(&place, &user, &role)),
            Self::TakeOver { user } => Call::command(
                Method::POST,
                "/v1/platform/administrators".to_owned(),
                json!({ "user": user }),
            ),
        })
    }
}
