//! Documents: content too large or too opaque for an envelope (Rego source, spec cards, verdict lists).
//!
//! A document is immutable, belongs to one tenant and is addressed by its digest. The envelope holds digest and
//! length; the bytes are inserted in the same transaction as the event, and exported and archived with the log.

use serde::{Deserialize, Serialize};

use crate::ids::DocumentDigest;

/// Largest document: one MiB, so that a log page with its documents stays within memory bounds.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

const DIGEST_CONTEXT: &str = "counterfoil 2026 document v1";

/// The address of `bytes`: `blake3::derive_key("counterfoil 2026 document v1", bytes)`.
#[must_use]
pub fn digest(bytes: &[u8]) -> DocumentDigest {
    DocumentDigest(blake3::derive_key(DIGEST_CONTEXT, bytes))
}

/// What an envelope holds of a document.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "log", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DocumentRef {
    /// Its address.
    pub digest: DocumentDigest,
    /// Its length in bytes.
    pub bytes: u32,
}

/// A document's content with its address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    reference: DocumentRef,
    body: String,
}

/// A document over the limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the document has {bytes} bytes; at most {MAX_DOCUMENT_BYTES} are kept: shorten it or split it")]
pub struct DocumentTooLarge {
    /// Its length.
    pub bytes: usize,
}

impl Document {
    /// Takes text and computes its address.
    ///
    /// # Errors
    /// When it is over [`MAX_DOCUMENT_BYTES`].
    pub fn new(body: String) -> Result<Self, DocumentTooLarge> {
        let bytes = body.len();
        if bytes > MAX_DOCUMENT_BYTES {
            return Err(DocumentTooLarge { bytes });
        }
        let length = u32::try_from(bytes).map_err(|_| DocumentTooLarge { bytes })?;
        Ok(Self {
            reference: DocumentRef {
                digest: digest(body.as_bytes()),
                bytes: length,
            },
            body,
        })
    }

    /// What the envelope holds of it.
    #[must_use]
    pub fn reference(&self) -> DocumentRef {
        self.reference
    }

    /// Its text.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }
}
