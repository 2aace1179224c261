//! The thin commands: `counterfoil organisations | tenants | users | members | issuers | agents | policies | kri | secrets |
//! subscribers | origin …`.
//!
//! Each is one request to the HTTP API. A noun's file maps its arguments to a [`Call`]; sending it, paging and printing
//! are here, the same for all. They decide nothing that the API decides: what it refuses is printed as it says it.

mod agents;
mod call;
mod issuers;
mod kri;
mod members;
mod organisations;
mod origin;
mod place;
mod policies;
mod print;
mod secrets;
mod subscribers;
mod tenants;
mod users;

use clap::{Args, Subcommand};

use super::GlobalArgs;
use super::client::{Api, ApiArgs};
use super::exit::{CliError, Exit, Outcome};
use super::output::Output;
use crate::identity::REASON;
pub use agents::AgentsCommand;
use call::{Call, Shown};
pub use issuers::IssuersCommand;
pub use kri::KriCommand;
pub use members::MembersCommand;
pub use organisations::OrganisationsCommand;
pub use origin::OriginCommand;
pub use policies::PoliciesCommand;
pub use secrets::SecretsCommand;
pub use subscribers::SubscribersCommand;
pub use tenants::TenantsCommand;
pub use users::UsersCommand;

/// A noun with its commands.
#[derive(Debug, Args)]
pub struct Noun<C: Subcommand> {
    #[command(flatten)]
    request: RequestArgs,
    #[command(subcommand)]
    command: C,
}

/// How to ask; the same for every noun.
#[derive(Debug, Args)]
struct RequestArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// For commands: the same request under the same key is carried out once, however often it is sent
    #[arg(long, global = true, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// For queries: answer once the read model has reached this position of this tenant's log
    #[arg(long, global = true, value_name = "TENANT:POSITION")]
    wait_for: Option<String>,
    /// Inside a tenant, by a role of the platform: why, as a code such as incident-17; it is put on record
    #[arg(long, global = true, env = "COUNTERFOIL_ENTRY_REASON", value_name = "CODE")]
    entry_reason: Option<String>,
}

/// What a noun's arguments ask for.
pub trait Ask {
    /// The request.
    ///
    /// # Errors
    /// A file that it names cannot be read.
    fn call(self) -> Result<Call, CliError>;
}

impl<C: Subcommand + Ask> Noun<C> {
    /// Asks, and prints the answer.
    pub async fn run(self, global: &GlobalArgs, output: Output) -> Outcome {
        let Self { request, command } = self;
        let mut call = command.call()?;
        let header = if call.is_query() {
            request
                .wait_for
                .map(|position| ("Counterfoil-Wait-For", position))
        } else {
            request.idempotency_key.map(|key| ("Idempotency-Key", key))
        };
        call.headers.extend(header);
        let entering = request.entry_reason.map(|reason| (REASON, reason));
        call.headers.extend(entering);
        let api = Api::new(request.api, global)?;
        match call.shown {
            Shown::List {
                columns,
                limit,
                nothing,
            } => {
                let items = call::pages(&api, &call, limit).await?;
                print::list(output, &items, columns, nothing)?;
            }
            Shown::Item => print::item(output, &call.send(&api).await?)?,
            Shown::ItemsOfOne { columns, nothing } => {
                print::items(output, &call.send(&api).await?, columns, nothing)?;
            }
            Shown::Text(member) => print::text(output, &call.send(&api).await?, member)?,
            Shown::Done => print::done(output, &call.send(&api).await?)?,
        }
        Ok(Exit::Good)
    }
}
