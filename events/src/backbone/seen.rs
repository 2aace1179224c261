//! Where logs stood when a follower last looked, so that it notices when one is no longer the log that it followed.
//!
//! A database that was restored to an earlier moment, or a standby that took over without the last commits, ends before
//! what was read of it, and then goes on with other events. By its position alone a follower would wait until the new
//! log has grown past its cursor, and never read what it was filled with meanwhile. So each look is compared with the one
//! before: a head that moved back, or an event at the old head that is another one, tells.

use std::collections::HashMap;

use crate::backbone::heads::Heads;
use crate::ids::{EventHash, Position, TenantId};
use crate::ledger::LogReader;

/// The heads of one scan, compared with those of a later one.
#[derive(Debug, Default)]
pub struct SeenHeads(HashMap<TenantId, (Position, EventHash)>);

/// What comparing two heads of one log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Continued,
    Rewound,
    /// It grew: the event at the old head tells whether upon what was seen.
    Grown,
}

fn compare(seen: (Position, EventHash), now: Option<(Position, EventHash)>) -> Verdict {
    match now {
        Some(now) if now == seen => Verdict::Continued,
        Some((position, _)) if position > seen.0 => Verdict::Grown,
        _ => Verdict::Rewound,
    }
}

impl SeenHeads {
    /// The logs that `heads` does not show as continuations of what was seen, by tenant.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn rewound(&self, log: &LogReader, heads: &Heads) -> Result<Vec<TenantId>, sqlx::Error> {
        let mut rewound = Vec::new();
        let mut grown = Vec::new();
        for (tenant, seen) in &self.0 {
            let now = heads.by_tenant.get(tenant);
            match compare(*seen, now.map(|now| (now.head.position, now.head.hash))) {
                Verdict::Continued => {}
                Verdict::Rewound => rewound.push(*tenant),
                // Nothing comes before the first event.
                Verdict::Grown if seen.0 == Position::ZERO => {}
                Verdict::Grown => grown.push((*tenant, seen.0)),
            }
        }
        if !grown.is_empty() {
            let hashes = log.hashes_at(&grown).await?;
            let is_other = |place: &&(TenantId, Position)| {
                hashes.get(*place) != self.0.get(&place.0).map(|(_, hash)| hash)
            };
            rewound.extend(grown.iter().filter(is_other).map(|(tenant, _)| *tenant));
        }
        rewound.sort_unstable();
        Ok(rewound)
    }

    /// Takes in the heads that a follower has read up to.
    pub fn note(&mut self, heads: &Heads) {
        let ends = heads.by_tenant.values();
        self.0 = ends
            .map(|head| (head.tenant, (head.head.position, head.head.hash)))
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_moved_back_or_is_another_event_is_no_continuation() {
        let head = |position, hash| (Position(position), EventHash([hash; 32]));
        let seen = head(100, 1);
        assert_eq!(compare(seen, Some(head(100, 1))), Verdict::Continued);
        assert_eq!(compare(seen, Some(head(101, 2))), Verdict::Grown);
        assert_eq!(compare(seen, Some(head(100, 2))), Verdict::Rewound);
        assert_eq!(compare(seen, Some(head(80, 1))), Verdict::Rewound);
        assert_eq!(compare(seen, None), Verdict::Rewound);
    }
}
