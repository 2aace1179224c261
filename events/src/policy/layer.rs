//! The layers of policy, and how a decision names the policies that it stands on.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::DocumentDigest;

/// Whose policy it is. Each layer must have an active policy that allows; one with nothing active denies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyLayer {
    /// The organisation's, in the log of its home tenant; it binds all of its tenants.
    Organisation,
    /// The tenant's own, in its log.
    Tenant,
}

impl PolicyLayer {
    /// All of them, in the order in which they are asked.
    pub const ALL: [Self; 2] = [Self::Organisation, Self::Tenant];

    /// As it stands in events and paths; also the policy's aggregate id.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Organisation => "organisation",
            Self::Tenant => "tenant",
        }
    }
}

impl fmt::Display for PolicyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a policy layer: it is `organisation` or `tenant`")]
pub struct UnknownLayer;

impl FromStr for PolicyLayer {
    type Err = UnknownLayer;

    fn from_str(text: &str) -> Result<Self, UnknownLayer> {
        match text {
            "organisation" => Ok(Self::Organisation),
            "tenant" => Ok(Self::Tenant),
            _ => Err(UnknownLayer),
        }
    }
}

/// A policy that took part in a decision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRef {
    /// Whose it is.
    pub layer: PolicyLayer,
    /// Which version of it.
    pub version: u32,
    /// The digest of its source, a document.
    pub digest: DocumentDigest,
}
