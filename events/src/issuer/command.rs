//! What may be asked of an issuer.

use super::{Audience, ClaimName, IssuerUrl};
use crate::membership::Scope;
use crate::text::Code;

/// A command to an issuer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IssuerCommand {
    /// Let users sign in by it.
    Configure {
        /// Whose issuer it is.
        place: Scope,
        /// Its name.
        url: IssuerUrl,
        /// For whom its tokens must be.
        audience: Audience,
        /// Which claim names the tenant that a token is bound to.
        tenant_claim: Option<ClaimName>,
    },
    /// Let another claim, or none, name the tenant.
    Change {
        /// Which one.
        tenant_claim: Option<ClaimName>,
    },
    /// Let nobody sign in by it until it is resumed.
    Suspend {
        /// Why, as a stable code.
        reason: Code,
    },
    /// Let it go on.
    Resume,
}
