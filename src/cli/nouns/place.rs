//! Where something is, for nouns that are found at the platform, an organisation or a tenant.

use clap::Args;
use counterfoil_events::ids::{OrganisationId, TenantId};

/// The platform, an organisation or a tenant.
#[derive(Debug, Args)]
pub struct PlaceArg {
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct At {
    /// At the platform
    #[arg(long)]
    platform: bool,
    /// At this organisation
    #[arg(long, value_name = "ORGANISATION")]
    organisation: Option<OrganisationId>,
    /// At this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
}

/// The platform or an organisation.
#[derive(Debug, Args)]
pub struct UpperPlaceArg {
    #[command(flatten)]
    at: AtUpper,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct AtUpper {
    /// Of the platform
    #[arg(long)]
    platform: bool,
    /// Of this organisation
    #[arg(long, value_name = "ORGANISATION")]
    organisation: Option<OrganisationId>,
}

impl PlaceArg {
    /// A path below the place's.
    pub fn path(&self, rest: &str) -> String {
        match (self.at.organisation, self.at.tenant) {
            (_, Some(tenant)) => format!("/v1/tenants/{tenant}/{rest}"),
            (organisation, None) => upper(organisation, rest),
        }
    }
}

impl UpperPlaceArg {
    /// A path below the place's.
    pub fn path(&self, rest: &str) -> String {
        upper(self.at.organisation, rest)
    }
}

fn upper(organisation: Option<OrganisationId>, rest: &str) -> String {
    match organisation {
        Some(organisation) => format!("/v1/organisations/{organisation}/{rest}"),
        None => format!("/v1/platform/{rest}"),
    }
}
