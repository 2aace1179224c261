//! Where a verifier learns whether the documents that envelopes refer to are there.

use std::collections::HashMap;

use crate::document::{self, DocumentRef};
use crate::ids::DocumentDigest;
use crate::verify::check::Problem;
use crate::verify::finding::FindingKind;

/// Says what is wrong with a document that an envelope refers to.
pub trait Documents {
    /// The problem with it, or nothing when it is there and right.
    fn problem(&self, reference: &DocumentRef) -> Option<(FindingKind, String)>;
}

/// Documents are not looked at.
#[derive(Clone, Copy, Debug)]
pub struct Unchecked;

impl Documents for Unchecked {
    fn problem(&self, _: &DocumentRef) -> Option<Problem> {
        None
    }
}

/// Documents that were read, by the digest under which they are kept; of each only its true digest and length, or
/// nothing if it was reported already.
#[derive(Clone, Debug, Default)]
pub struct SeenDocuments(HashMap<DocumentDigest, Option<DocumentRef>>);

impl SeenDocuments {
    /// Takes note of a document that is kept under `digest`; whether it belongs there.
    pub fn add(&mut self, digest: DocumentDigest, body: &[u8]) -> bool {
        let actual = document::digest(body);
        let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        self.0.insert(
            digest,
            Some(DocumentRef {
                digest: actual,
                bytes,
            }),
        );
        actual == digest
    }

    /// What is kept under `digest` was reported as a finding of its own: the events that refer to it are none.
    pub fn set_reported(&mut self, digest: DocumentDigest) {
        self.0.insert(digest, None);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Documents for SeenDocuments {
    fn problem(&self, reference: &DocumentRef) -> Option<Problem> {
        let Some(found) = self.0.get(&reference.digest) else {
            let detail = format!("document {} is not there", reference.digest);
            return Some((FindingKind::MissingDocument, detail));
        };
        let found = found.as_ref()?;
        (found != reference).then(|| {
            let detail = format!(
                "document {} has digest {} and {} bytes, the envelope says {} bytes",
                reference.digest, found.digest, found.bytes, reference.bytes
            );
            (FindingKind::DocumentMismatch, detail)
        })
    }
}
