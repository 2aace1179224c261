//! What happens to an issuer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Audience, ClaimName, IssuerUrl};
use crate::membership::Scope;
use crate::text::Code;

/// An event of an issuer, in the platform's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum IssuerEvent {
    /// Users may sign in by the issuer.
    IssuerConfigured {
        /// Whose it is: how far its users reach by it.
        place: Scope,
        /// Its name in its tokens.
        url: IssuerUrl,
        /// For whom its tokens must be.
        audience: Audience,
        /// Which claim names the tenant that a token is bound to.
        tenant_claim: Option<ClaimName>,
    },
    /// Another claim, or none, names the tenant.
    IssuerChanged {
        /// Which one.
        tenant_claim: Option<ClaimName>,
    },
    /// Nobody signs in by the issuer.
    IssuerSuspended {
        /// Why, as a stable code.
        reason: Code,
    },
    /// The issuer is resumed.
    IssuerResumed {},
}
