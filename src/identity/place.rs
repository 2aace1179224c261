//! Where a request acts, by the parameters of its path.
//!
//! `{tenant}` is that tenant; without it `{organisation}` or `{carrier}` is that organisation; without any it is the
//! platform, as it is for the platform's own log. One thing lies deeper than its path shows: a policy of the layer `organisation` stands under the path of
//! the home tenant but binds every tenant of the organisation, so that to change it is the organisation's.

use counterfoil_events::ids::{OrganisationId, TenantId};
use counterfoil_events::membership::Scope;
use counterfoil_events::policy::PolicyLayer;

use super::permission::Permission;
use super::reach::Tree;
use crate::http::problem::ApiError;
use crate::http::request::{PathParams, bad_param};

/// A place, and whether an organisation's policy is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where, by the path.
    pub scope: Scope,
    /// Whether what is meant binds the tenant's whole organisation.
    pub binds_organisation: bool,
}

impl From<Scope> for Place {
    fn from(scope: Scope) -> Self {
        Self {
            scope,
            binds_organisation: false,
        }
    }
}

impl Place {
    /// By these parameters.
    ///
    /// # Errors
    /// 400 naming a parameter that is no id.
    pub fn of_path(params: &PathParams) -> Result<Self, ApiError> {
        let parsed = |name: &str| params.get(name).map(|text| (name.to_owned(), text.to_owned()));
        if let Some((name, text)) = parsed("tenant") {
            let tenant: TenantId = text.parse().map_err(|error| bad_param(&name, &error))?;
            if tenant.is_platform() {
                return Ok(Scope::Platform.into());
            }
            let layer = params.get("layer").and_then(|layer| layer.parse().ok());
            return Ok(Self {
                scope: Scope::Tenant(tenant),
                binds_organisation: layer == Some(PolicyLayer::Organisation),
            });
        }
        match parsed("organisation").or_else(|| parsed("carrier")) {
            Some((name, text)) => {
                let id: OrganisationId = text.parse().map_err(|error| bad_param(&name, &error))?;
                Ok(Scope::Organisation(id).into())
            }
            None => Ok(Scope::Platform.into()),
        }
    }

    /// Where a grant must reach for this permission.
    pub(super) fn of(self, permission: Permission, tree: &dyn Tree) -> Scope {
        let changes_policy = matches!(
            permission,
            Permission::PoliciesPublish | Permission::PoliciesActivate
        );
        match self.scope {
            Scope::Tenant(tenant) if self.binds_organisation && changes_policy => tree
                .organisation_of(tenant)
                .map_or(self.scope, Scope::Organisation),
            scope => scope,
        }
    }
}
