//! Comparing what a stream holds with the ledger. Postgres commits before anything is published, so a stream that
//! is *ahead* of it, or holds something else at a position, shows that Postgres lost or changed events (a restored
//! backup, say). Such a tenant takes no appends until `audit reconcile` has cleared it: else its log would fork.

use std::collections::HashMap;
use std::fmt;

use crate::backbone::cursor::TenantCursor;
use crate::backbone::heads::Heads;
use crate::ids::{EventHash, Position, TenantId};

/// How a tenant's copies disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The stream holds events that the ledger lacks.
    Ahead {
        /// Where the stream's copy ends.
        stream: Position,
        /// Where the ledger ends.
        ledger: Position,
    },
    /// They hold different events at one position.
    Differs {
        /// Where.
        position: Position,
        /// The stream's.
        stream: EventHash,
        /// The ledger's; none when it has no event there.
        ledger: Option<EventHash>,
    },
    /// The ledger has no such tenant.
    UnknownTenant {
        /// Where the stream's copy ends.
        stream: Position,
    },
    /// The ledger lacks a position below its own head.
    Hole {
        /// The first one that is missing.
        position: Position,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead { stream, ledger } => {
                write!(
                    f,
                    "JetStream holds position {stream}, this database ends at {ledger}"
                )
            }
            Self::Differs {
                position,
                ledger: Some(_),
                ..
            } => write!(
                f,
                "JetStream and this database hold different events at position {position}"
            ),
            Self::Differs { position, .. } => {
                write!(f, "JetStream holds position {position}, this database lacks it")
            }
            Self::UnknownTenant { stream } => {
                write!(
                    f,
                    "JetStream holds position {stream} of a tenant that this database does not know"
                )
            }
            Self::Hole { position } => write!(f, "this database lacks position {position} below its head"),
        }
    }
}

/// Every tenant whose copy in the stream does not fit the ledger. `hashes` are the ledger's at the cursors' positions,
/// `heads` were read after the cursors.
pub(crate) fn compare(
    cursors: &HashMap<TenantId, TenantCursor>,
    heads: &Heads,
    hashes: &HashMap<(TenantId, Position), EventHash>,
) -> HashMap<TenantId, Finding> {
    let finding = |tenant: &TenantId, cursor: &TenantCursor| {
        let Some(head) = heads.by_tenant.get(tenant) else {
            return Some(Finding::UnknownTenant {
                stream: cursor.position,
            });
        };
        if cursor.position > head.head.position {
            return Some(Finding::Ahead {
                stream: cursor.position,
                ledger: head.head.position,
            });
        }
        let ledger = hashes.get(&(*tenant, cursor.position)).copied();
        (ledger != Some(cursor.hash)).then_some(Finding::Differs {
            position: cursor.position,
            stream: cursor.hash,
            ledger,
        })
    };
    cursors
        .iter()
        .filter_map(|(tenant, cursor)| Some((*tenant, finding(tenant, cursor)?)))
        .collect()
}
