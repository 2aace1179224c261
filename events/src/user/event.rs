//! What happens to a user.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use serde_json::Value;

use crate::ids::{
    ApiKeyHash, ApiKeyId, IssuerId, OrganisationId, SubjectCommitment, SubjectLinkId, TenantId,
};
use crate::membership::Grant;
use crate::schema::{EventSchema, Upcast};
use crate::text::Code;
use crate::timestamp::Timestamp;

/// What kind of user it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserKind {
    /// A person.
    Person,
    /// A program of an organisation, or of the platform.
    Service,
}

/// By which issuer's word a session was opened, and how far that reached. The session reaches no further, and lasts no longer
/// than the issuer is heeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VouchedBy {
    /// The issuer.
    pub issuer: IssuerId,
    /// Roles outside of this organisation and its tenants do not count; none for an issuer of the platform.
    pub organisation: Option<OrganisationId>,
    /// Nothing but this tenant is reached, if the token named one.
    pub tenant: Option<TenantId>,
}

/// An event of a user, in the platform's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum UserEvent {
    /// The user is known, and may do nothing yet.
    UserEnrolled {
        /// A person or a program.
        kind: UserKind,
    },
    /// The user is suspended: it is denied everything.
    UserSuspended {
        /// Why, as a stable code.
        reason: Code,
    },
    /// The user is resumed.
    UserResumed {},
    /// The user has a role at a place.
    MembershipGranted {
        /// Which role, where.
        grant: Grant,
    },
    /// The user has a role at a place no more.
    MembershipRevoked {
        /// Which role, where.
        grant: Grant,
    },
    /// The user has a token.
    UserTokenIssued {
        /// The token's name.
        token_id: ApiKeyId,
        /// The token's keyed hash.
        hash: ApiKeyHash,
        /// When it stops working.
        expires_at: Timestamp,
    },
    /// One of the user's tokens does not work any more.
    UserTokenRevoked {
        /// Which one.
        token_id: ApiKeyId,
        /// Why, as a stable code.
        reason: Code,
    },
    /// The user has a session.
    UserSessionOpened {
        /// The session's name.
        session_id: ApiKeyId,
        /// The keyed hash of what its holder shows.
        hash: ApiKeyHash,
        /// When it ends at the latest, however much it is used.
        expires_at: Timestamp,
        /// Whose token it was opened by; none for one of the platform's own tokens.
        vouched_by: Option<VouchedBy>,
    },
    /// One of the user's sessions has ended.
    UserSessionEnded {
        /// Which one.
        session_id: ApiKeyId,
        /// Why, as a stable code.
        reason: Code,
    },
    /// All of the user's sessions have ended.
    UserSessionsEnded {
        /// Why, as a stable code.
        reason: Code,
    },
    /// The user signs in as somebody at an issuer. As whom is not here: it lies beside the log, and can be erased.
    SubjectLinked {
        /// The link's name.
        link: SubjectLinkId,
        /// Where it signs in.
        issuer: IssuerId,
        /// In whose scope the link's row lies: the home tenant of the issuer's organisation, or the platform.
        home: TenantId,
        /// What the row is held to: a hash under a salt that lies in it.
        commitment: SubjectCommitment,
    },
    /// The user signs in so no more; the link's row is deleted.
    SubjectUnlinked {
        /// Which link.
        link: SubjectLinkId,
        /// Why, as a stable code.
        reason: Code,
    },
    /// The user, by a role of the platform, enters a tenant.
    TenantEntered {
        /// Which one.
        tenant: TenantId,
        /// To do what: the permission's name.
        permission: Code,
        /// Why, as a stable code.
        reason: Code,
    },
}

/// Version 1.0 was opened by tokens that reach as far as their user does.
pub(super) const SESSION_OPENED: EventSchema = EventSchema {
    event_type: "UserSessionOpened",
    version: "1.1",
    upcasts: &[Upcast {
        from: "1.0",
        to: "1.1",
        lift: vouched_by_nobody,
    }],
};

fn vouched_by_nobody(mut payload: Value) -> Value {
    if let Some(fields) = payload.as_object_mut() {
        fields.insert("vouched_by".to_owned(), Value::Null);
    }
    payload
}
