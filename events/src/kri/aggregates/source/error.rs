//! Why a command to a source is refused.

use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KriSourceError {
    /// There is no such source.
    #[error("there is no such KRI source: configure it first")]
    NotFound,
    /// Its id is taken.
    #[error("a KRI source with this id already exists: take another id")]
    AlreadyExists,
    /// Nothing would change.
    #[error("the KRI source is configured like this already")]
    Unchanged,
    /// Disabled before.
    #[error("the KRI source is disabled already: enable it first")]
    AlreadyDisabled,
    /// Not disabled.
    #[error("the KRI source is not disabled")]
    NotDisabled,
    /// Content where only its document's reference may stand.
    #[error("the CSV text has to be attached as a document before the source is configured")]
    TextNotAttached,
}

impl Rejection for KriSourceError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "kri_source_not_found",
            Self::AlreadyExists => "kri_source_already_exists",
            Self::Unchanged => "kri_source_unchanged",
            Self::AlreadyDisabled => "kri_source_already_disabled",
            Self::NotDisabled => "kri_source_not_disabled",
            Self::TextNotAttached => "kri_source_text_not_attached",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::TextNotAttached => RejectionKind::Invalid { field: "config" },
            Self::AlreadyExists | Self::Unchanged | Self::AlreadyDisabled | Self::NotDisabled => {
                RejectionKind::Conflict
            }
        }
    }
}
