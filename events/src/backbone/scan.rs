//! Reading a whole stream, or one tenant's part of it, from its beginning to where it ended when the scan began: by
//! pages, in order, every message with what is wrong with it. For audits and repair.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::Stream;
use futures::StreamExt;

use crate::backbone::connection::{Backbone, BackboneError};
use crate::backbone::message::{MessageError, beside, decode};
use crate::envelope::RecordedEvent;
use crate::ids::TenantId;
use crate::verify::Columns;

/// Messages per request: at worst 32 MiB, usually half of one.
const PAGE_MESSAGES: usize = 500;
/// A page that takes longer is taken for lost.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The server forgets our consumer when nobody has asked for a page for so long.
const INACTIVE: Duration = Duration::from_secs(120);

/// A message as the stream holds it.
#[derive(Debug, Clone)]
pub struct ScannedMessage {
    /// Its place in the stream.
    pub sequence: u64,
    /// Its event, whose body has the hash of its headers; or what is wrong with it.
    pub event: Result<RecordedEvent, MessageError>,
    /// What subject and headers say of the event: subscribers select by it. Nobody has compared it with the body.
    pub beside: Columns,
}

/// A scan under way.
pub struct StreamScan {
    backbone: Backbone,
    consumer: Option<PullConsumer>,
    until: u64,
}

impl StreamScan {
    /// Begins to read the stream of `partition`; only `tenant`'s messages, if given.
    ///
    /// # Errors
    /// When there is no such stream, or NATS does not answer.
    pub async fn open(
        backbone: &Backbone,
        partition: u32,
        tenant: Option<TenantId>,
    ) -> Result<Self, BackboneError> {
        let name = backbone.prefix().stream(partition);
        let stream = backbone.context().get_stream(name).await;
        let stream = stream.map_err(BackboneError::nats)?;
        let state = &stream.cached_info().state;
        let until = state.last_sequence;
        let consumer = match state.messages {
            0 => None,
            _ => Some(Self::consumer(backbone, &stream, partition, tenant).await?),
        };
        Ok(Self {
            backbone: backbone.clone(),
            consumer,
            until,
        })
    }

    async fn consumer(
        backbone: &Backbone,
        stream: &Stream,
        partition: u32,
        tenant: Option<TenantId>,
    ) -> Result<PullConsumer, BackboneError> {
        let prefix = backbone.prefix();
        let created = stream.create_consumer(pull::Config {
            description: Some("scans the stream".to_owned()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            filter_subject: tenant.map_or_else(
                || prefix.subjects(partition),
                |tenant| prefix.tenant_subjects(partition, tenant),
            ),
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: INACTIVE,
            ..pull::Config::default()
        });
        created.await.map_err(BackboneError::nats)
    }

    /// The next page; an empty one is the end.
    ///
    /// # Errors
    /// When NATS does not answer.
    pub async fn next_page(&mut self) -> Result<Vec<ScannedMessage>, BackboneError> {
        let Some(consumer) = &self.consumer else {
            return Ok(Vec::new());
        };
        let page = tokio::time::timeout(PAGE_TIMEOUT, self.read_page(consumer)).await;
        let mut page =
            page.map_err(|_| BackboneError::nats("a page of the stream was not answered in time"))??;
        let read = page.len();
        page.retain(|message| message.sequence <= self.until);
        if page.len() < read || read == 0 {
            self.consumer = None;
        }
        Ok(page)
    }

    async fn read_page(&self, consumer: &PullConsumer) -> Result<Vec<ScannedMessage>, BackboneError> {
        let fetch = consumer.fetch().max_messages(PAGE_MESSAGES).messages();
        let mut fetched = fetch.await.map_err(BackboneError::nats)?;
        let mut page = Vec::with_capacity(PAGE_MESSAGES);
        while let Some(message) = fetched.next().await {
            let message = message.map_err(BackboneError::nats)?;
            let sequence = message.info().map_err(BackboneError::nats)?.stream_sequence;
            let prefix = self.backbone.prefix();
            let event = decode(
                prefix,
                &message.subject,
                message.headers.as_ref(),
                &message.payload,
            );
            let beside = beside(prefix, &message.subject, message.headers.as_ref());
            page.push(ScannedMessage {
                sequence,
                event,
                beside,
            });
        }
        Ok(page)
    }
}
