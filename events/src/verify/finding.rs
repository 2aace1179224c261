//! What a verifier finds. Kinds are stable names: auditors' tools match on them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Position, TenantId};

/// How many findings are kept in full; all are counted.
pub const MAX_FINDINGS_KEPT: usize = 1000;

/// What kind of thing is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The hash beside the envelope is not the envelope's.
    HashMismatch,
    /// `prev`, or the hash that a head names, is not the hash of the event there.
    ChainBroken,
    /// Positions are missing.
    Gap,
    /// A position stands again, or out of order.
    Duplicate,
    /// The log ends before a position that it is known to have reached.
    MissingTail,
    /// The signature is not that of the key it names.
    SignatureInvalid,
    /// The key is not one that the root vouches for.
    UnknownKey,
    /// The envelope belongs to another tenant's log.
    ForeignTenant,
    /// Bytes that cannot be read as what they should be.
    Malformed,
    /// A column, header or export field disagrees with the envelope.
    ColumnsDisagree,
    /// An aggregate's events are not numbered 1, 2, 3 …
    SequenceGap,
    /// An event is dated before the one before it.
    TimeDecreases,
    /// An envelope refers to a document that is not there.
    MissingDocument,
    /// A document is not the one its digest names.
    DocumentMismatch,
    /// A key signed before the platform log introduced it.
    KeyNotIntroduced,
    /// A key signed after the key that followed it.
    KeySuperseded,
    /// A head note and the log, or two head notes, contradict each other.
    HeadNoteConflict,
    /// A copy holds events that the truth does not.
    Ahead,
    /// Two copies hold different bytes at one position.
    Differs,
}

impl FindingKind {
    /// Its stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HashMismatch => "hash_mismatch",
            Self::ChainBroken => "chain_broken",
            Self::Gap => "gap",
            Self::Duplicate => "duplicate",
            Self::MissingTail => "missing_tail",
            Self::SignatureInvalid => "signature_invalid",
            Self::UnknownKey => "unknown_key",
            Self::ForeignTenant => "foreign_tenant",
            Self::Malformed => "malformed",
            Self::ColumnsDisagree => "columns_disagree",
            Self::SequenceGap => "sequence_gap",
            Self::TimeDecreases => "time_decreases",
            Self::MissingDocument => "missing_document",
            Self::DocumentMismatch => "document_mismatch",
            Self::KeyNotIntroduced => "key_not_introduced",
            Self::KeySuperseded => "key_superseded",
            Self::HeadNoteConflict => "head_note_conflict",
            Self::Ahead => "ahead",
            Self::Differs => "differs",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which part of a log is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossPart {
    /// From the start.
    Prefix,
    /// Between events that are there.
    Middle,
    /// Up to the end.
    Tail,
}

/// How much is lost, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Loss {
    /// Which part.
    pub part: LossPart,
    /// How many events.
    pub events: u64,
}

/// One thing that is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// In whose log.
    pub tenant: TenantId,
    /// At which position; of a loss, the first one lost.
    pub position: Position,
    /// What.
    pub kind: FindingKind,
    /// In words.
    pub detail: String,
    /// How much, where events are missing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loss: Option<Loss>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "tenant {} position {}: {}: {}",
            self.tenant, self.position, self.kind, self.detail
        )
    }
}

/// Everything found: the first [`MAX_FINDINGS_KEPT`] in full, all of them counted by kind.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Findings {
    kept: Vec<Finding>,
    counts: BTreeMap<FindingKind, u64>,
}

impl Findings {
    /// Adds one.
    pub fn add(&mut self, finding: Finding) {
        *self.counts.entry(finding.kind).or_default() += 1;
        if self.kept.len() < MAX_FINDINGS_KEPT {
            self.kept.push(finding);
        }
    }

    /// Adds all of another log's.
    pub fn merge(&mut self, other: Self) {
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        let room = MAX_FINDINGS_KEPT - self.kept.len();
        self.kept.extend(other.kept.into_iter().take(room));
    }

    /// The first of them.
    #[must_use]
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }

    /// How many of each kind.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<FindingKind, u64> {
        &self.counts
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}
