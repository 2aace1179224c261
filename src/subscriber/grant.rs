//! What a subscriber may do at the NATS server: fetch from the one consumer that was made for it, and nothing else.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use counterfoil_events::backbone::StreamPrefix;
use counterfoil_events::ids::{ApiKeyId, TenantId};

/// The account that subscribers live in.
pub const ACCOUNT: &str = "SUBSCRIBERS";
/// The account of the platform's processes, with the streams.
pub const PLATFORM_ACCOUNT: &str = "COUNTERFOIL";
/// How JetStream's subjects begin in the subscribers' account: under their usual name the server would answer for that
/// account, which has no JetStream of its own.
pub const API_PREFIX: &str = "JS.COUNTERFOIL.API";
/// A consumer that nobody asked for so long is forgotten by the server; credentials live shorter.
const INACTIVE: Duration = Duration::from_secs(24 * 60 * 60);
/// Most messages that are under way to a subscriber, unacknowledged: bounds what the server remembers of it.
const MAX_ACK_PENDING: i64 = 1000;
/// Most fetches that wait at a consumer.
const MAX_WAITING: i64 = 16;

/// What a credential opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The stream that the tenant's events are in.
    pub stream: String,
    /// The consumer that is its own.
    pub consumer: String,
    /// All that the consumer delivers.
    pub filter: String,
    /// How the subjects begin that answers come to.
    pub inbox: String,
}

impl Grant {
    /// Of a tenant whose events are in this partition.
    #[must_use]
    pub fn new(prefix: &StreamPrefix, partition: u32, tenant: TenantId, credential: ApiKeyId) -> Self {
        let name = credential.0.simple();
        Self {
            stream: prefix.stream(partition),
            consumer: format!("subscriber_{name}"),
            filter: prefix.tenant_subjects(partition, tenant),
            inbox: format!("_INBOX_{name}"),
        }
    }

    /// What it may publish to: each a request about its own consumer.
    #[must_use]
    pub fn publishes(&self) -> [String; 3] {
        let (stream, consumer) = (&self.stream, &self.consumer);
        [
            format!("{API_PREFIX}.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            format!("{API_PREFIX}.CONSUMER.INFO.{stream}.{consumer}"),
            format!("$JS.ACK.{stream}.{consumer}.>"),
        ]
    }

    /// What it may subscribe to.
    #[must_use]
    pub fn subscribes(&self) -> [String; 1] {
        [format!("{}.>", self.inbox)]
    }

    /// Its consumer.
    #[must_use]
    pub fn consumer(&self) -> pull::Config {
        pull::Config {
            durable_name: Some(self.consumer.clone()),
            description: Some("a tenant's subscriber".to_owned()),
            filter_subject: self.filter.clone(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            max_ack_pending: MAX_ACK_PENDING,
            max_waiting: MAX_WAITING,
            inactive_threshold: INACTIVE,
            ..pull::Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_grant_names_its_own_consumer_and_inbox_and_no_wildcard_beside_them() {
        let (tenant, credential) = (TenantId::generate(), ApiKeyId::generate());
        let grant = Grant::new(&StreamPrefix::new("cf").unwrap(), 3, tenant, credential);
        let name = credential.0.simple().to_string();
        assert_eq!(grant.filter, format!("cf.events.3.{tenant}.>"));
        assert_eq!(
            grant.publishes(),
            [
                format!("JS.COUNTERFOIL.API.CONSUMER.MSG.NEXT.CF_EVENTS_3.subscriber_{name}"),
                format!("JS.COUNTERFOIL.API.CONSUMER.INFO.CF_EVENTS_3.subscriber_{name}"),
                format!("$JS.ACK.CF_EVENTS_3.subscriber_{name}.>"),
            ]
        );
        assert_eq!(grant.subscribes(), [format!("_INBOX_{name}.>")]);
        assert_eq!(grant.consumer().filter_subject, grant.filter);
    }
}
