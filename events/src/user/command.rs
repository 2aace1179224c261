//! What may be asked of a user.

use super::{UserKind, VouchedBy};
use crate::ids::{ApiKeyHash, ApiKeyId, IssuerId, SubjectCommitment, SubjectLinkId, TenantId};
use crate::membership::Grant;
use crate::text::Code;
use crate::timestamp::Timestamp;

/// A command to a user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserCommand {
    /// Let it be known.
    Enrol {
        /// A person or a program.
        kind: UserKind,
    },
    /// Deny it everything until it is resumed.
    Suspend {
        /// Why, as a stable code.
        reason: Code,
    },
    /// Let it go on.
    Resume,
    /// Give it a role at a place.
    Grant(Grant),
    /// Take a role at a place away.
    Revoke(Grant),
    /// Give it a token.
    IssueToken {
        /// The token's name.
        token_id: ApiKeyId,
        /// The token's keyed hash.
        hash: ApiKeyHash,
        /// From when it works.
        now: Timestamp,
    },
    /// Let a token stop working at once.
    RevokeToken {
        /// Which one.
        token_id: ApiKeyId,
        /// Why, as a stable code.
        reason: Code,
    },
    /// Open a session for it.
    OpenSession {
        /// The session's name.
        session_id: ApiKeyId,
        /// The keyed hash of what its holder shows.
        hash: ApiKeyHash,
        /// From when on.
        now: Timestamp,
        /// Whose token it is opened by; none for one of the platform's own tokens.
        vouched_by: Option<VouchedBy>,
    },
    /// End one of its sessions at once.
    EndSession {
        /// Which one.
        session_id: ApiKeyId,
        /// Why, as a stable code.
        reason: Code,
    },
    /// End all of its sessions at once.
    EndSessions {
        /// Why, as a stable code.
        reason: Code,
    },
    /// Let it sign in as somebody at an issuer.
    LinkSubject {
        /// The link's name.
        link: SubjectLinkId,
        /// Where it signs in.
        issuer: IssuerId,
        /// Whose the issuer is: in whose scope the link's row lies.
        home: TenantId,
        /// What the link's row is held to.
        commitment: SubjectCommitment,
    },
    /// Let it sign in so no more.
    UnlinkSubject {
        /// Which link.
        link: SubjectLinkId,
        /// Why, as a stable code.
        reason: Code,
    },
    /// Let it, by a role of the platform, enter a tenant.
    Enter {
        /// Which one.
        tenant: TenantId,
        /// To do what: the permission's name.
        permission: Code,
        /// Why, as a stable code.
        reason: Code,
    },
}
