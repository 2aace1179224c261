//! What happens to a tenant's subscribers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ApiKeyHash, ApiKeyId};
use crate::text::Code;
use crate::timestamp::Timestamp;

/// An event of a tenant's subscribers, in its log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum SubscriberEvent {
    /// A subscriber has a credential.
    SubscriberCredentialIssued {
        /// The credential's name.
        credential_id: ApiKeyId,
        /// Its keyed hash.
        hash: ApiKeyHash,
        /// When it stops working.
        expires_at: Timestamp,
    },
    /// A credential does not work any more.
    SubscriberCredentialRevoked {
        /// Which one.
        credential_id: ApiKeyId,
        /// Why, as a stable code.
        reason: Code,
    },
}
