//! What may be asked of a source.

use crate::kri::aggregates::KriId;
use crate::kri::source::SourceConfig;
use crate::text::Code;

/// A command to a source. The caller moves a CSV text into a document first, and appends that along with the event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KriSourceCommand {
    /// Make it.
    Configure {
        /// The KRI that it measures.
        kri: KriId,
        /// How.
        config: SourceConfig,
    },
    /// Let it measure like this from now on.
    Change {
        /// How.
        config: SourceConfig,
    },
    /// Run it no more until it is enabled.
    Disable {
        /// Why, as a stable code.
        reason: Code,
    },
    /// Run it again.
    Enable,
}
