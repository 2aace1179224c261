//! How many streams there may be: in this process, of one log, and of one caller.

use std::collections::HashMap;
use std::sync::Arc;

use counterfoil_events::ids::{Position, TenantId};
use tokio_util::sync::CancellationToken;

use super::topic::Topic;
use super::{SubscribeError, SubscriptionOptions};

/// Who holds which stream, and the topics that are kept for them.
#[derive(Debug, Default)]
pub(super) struct Seats {
    total: usize,
    topics: HashMap<TenantId, (Arc<Topic>, usize)>,
    principals: HashMap<String, usize>,
}

impl Seats {
    /// Takes a seat at a log's topic, which is made if there is none; true if it was.
    pub(super) fn take(
        &mut self,
        tenant: TenantId,
        principal: &str,
        head: Position,
        options: &SubscriptionOptions,
        stop: &CancellationToken,
    ) -> Result<(Arc<Topic>, bool), SubscribeError> {
        let of_tenant = self.topics.get(&tenant).map_or(0, |(_, streams)| *streams);
        let of_principal = self.principals.get(principal).copied().unwrap_or(0);
        if self.total >= options.streams_max {
            return Err(SubscribeError::ProcessFull(options.streams_max));
        }
        if of_tenant >= options.streams_per_tenant_max {
            return Err(SubscribeError::TenantFull(options.streams_per_tenant_max));
        }
        if of_principal >= options.streams_per_principal_max {
            return Err(SubscribeError::PrincipalFull(options.streams_per_principal_max));
        }
        self.total += 1;
        *self.principals.entry(principal.to_owned()).or_default() += 1;
        let made = of_tenant == 0;
        let (topic, streams) = self.topics.entry(tenant).or_insert_with(|| {
            let topic = Topic::new(tenant, head, options.window, stop.child_token());
            (Arc::new(topic), 0)
        });
        *streams += 1;
        Ok((Arc::clone(topic), made))
    }

    /// Gives a seat back; a topic that nobody follows any more is stopped.
    pub(super) fn leave(&mut self, tenant: TenantId, principal: &str) {
        self.total = self.total.saturating_sub(1);
        if let Some(streams) = self.principals.get_mut(principal) {
            *streams -= 1;
            if *streams == 0 {
                self.principals.remove(principal);
            }
        }
        if let Some((topic, streams)) = self.topics.get_mut(&tenant) {
            *streams -= 1;
            if *streams == 0 {
                topic.stop.cancel();
                self.topics.remove(&tenant);
            }
        }
    }

    /// How many streams there are.
    pub(super) fn taken(&self) -> usize {
        self.total
    }

    /// A log reaches at least to `position`.
    pub(super) fn reaches(&self, tenant: TenantId, position: Position) {
        if let Some((topic, _)) = self.topics.get(&tenant) {
            topic.reaches(position);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn options() -> SubscriptionOptions {
        SubscriptionOptions {
            streams_max: 4,
            streams_per_tenant_max: 3,
            streams_per_principal_max: 2,
            ..SubscriptionOptions::default()
        }
    }

    #[test]
    fn each_limit_refuses_the_first_stream_above_it_and_a_seat_given_back_is_free() {
        let (a, b) = (TenantId::generate(), TenantId::generate());
        let (stop, options) = (CancellationToken::new(), options());
        let mut seats = Seats::default();
        let take = |seats: &mut Seats, tenant, who| {
            let taken = seats.take(tenant, who, Position(7), &options, &stop);
            taken.map(|(_, made)| made)
        };
        assert!(
            take(&mut seats, a, "x").unwrap(),
            "the first stream makes the topic"
        );
        assert!(!take(&mut seats, a, "x").unwrap(), "the second finds it");
        assert_eq!(
            take(&mut seats, b, "x").unwrap_err(),
            SubscribeError::PrincipalFull(2)
        );
        take(&mut seats, a, "y").unwrap();
        assert_eq!(
            take(&mut seats, a, "z").unwrap_err(),
            SubscribeError::TenantFull(3)
        );
        take(&mut seats, b, "z").unwrap();
        assert_eq!(
            take(&mut seats, b, "y").unwrap_err(),
            SubscribeError::ProcessFull(4)
        );
        seats.leave(a, "x");
        take(&mut seats, b, "y").unwrap();
        assert_eq!(seats.taken(), 4);
    }

    #[test]
    fn a_topic_ends_with_its_last_stream() {
        let (tenant, stop) = (TenantId::generate(), CancellationToken::new());
        let mut seats = Seats::default();
        let (topic, _) = seats.take(tenant, "x", Position(7), &options(), &stop).unwrap();
        seats.take(tenant, "y", Position(7), &options(), &stop).unwrap();
        seats.leave(tenant, "x");
        assert!(!topic.stop.is_cancelled());
        seats.leave(tenant, "y");
        assert!(topic.stop.is_cancelled());
        let (_, made) = seats.take(tenant, "x", Position(7), &options(), &stop).unwrap();
        assert!(made, "the next stream makes another");
    }
}
