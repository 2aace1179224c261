//! Where a partition's stream ends, per tenant: derived from the stream itself, each time, never stored.
//!
//! 1. Read the stream's last sequence *first*: whatever is published after that makes the fence refuse us, so that we
//!    derive again, instead of being counted as known.
//! 2. Read the headers of the last message of every subject; the largest position of a tenant is its cursor.
//! 3. Read the subjects that this has left out, whole: a server whose subject has lost its last message to a deletion may
//!    show none of it until the next is published. Taken at its word, it would be sent that tenant's log once more.
//!
//! A tenant that is absent was never published, or its messages have been discarded by age or size: `discarded` tells
//! which.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::Stream;
use futures::{StreamExt, TryStreamExt};

use crate::backbone::connection::{Backbone, BackboneError};
use crate::backbone::discarded::discarded_before;
use crate::backbone::message::{MessageError, Stamp};
use crate::ids::{EventHash, Position, TenantId};
use crate::ledger::LogReader;
use crate::timestamp::Timestamp;

/// Headers per request: below half a MiB.
const PAGE_MESSAGES: usize = 1000;
/// A page that takes longer is taken for lost.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The server forgets our consumer after this.
const INACTIVE: Duration = Duration::from_secs(30);

/// The last event of a tenant that a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantCursor {
    /// Its position.
    pub position: Position,
    /// Its hash.
    pub hash: EventHash,
}

/// Where a partition's stream ends.
#[derive(Debug, Clone, Default)]
pub struct StreamCursor {
    /// The stream's last sequence: what the next publish must follow.
    pub last_sequence: u64,
    /// Per tenant that it holds events of.
    pub tenants: HashMap<TenantId, TenantCursor>,
    /// The places in the stream of the messages that `tenants` was read from.
    pub(super) places: HashMap<TenantId, u64>,
    /// In a stream that has discarded messages: events recorded before this count as discarded.
    pub discarded_before: Option<Timestamp>,
    /// The places of the messages that are no events of ours and end a subject: they hide its last event.
    pub foreign: Vec<u64>,
}

/// Derives the cursor of a partition. It says what headers say: who acts upon a cursor that does not fit the ledger asks
/// first whether the message is genuine.
///
/// # Errors
/// When NATS does not answer.
pub async fn derive(backbone: &Backbone, stream: &Stream) -> Result<StreamCursor, BackboneError> {
    let info = stream.get_info().await.map_err(BackboneError::nats)?;
    let mut cursor = StreamCursor {
        last_sequence: info.state.last_sequence,
        discarded_before: discarded_before(backbone, stream, &info.state, &info.config).await?,
        ..StreamCursor::default()
    };
    if info.state.messages > 0 {
        let partition_subjects = info.config.subjects.concat();
        read_last_of_each_subject(backbone, stream, partition_subjects, &mut cursor).await?;
    }
    Ok(cursor)
}

/// Steps 2 and 3.
async fn read_last_of_each_subject(
    backbone: &Backbone,
    stream: &Stream,
    subjects: String,
    cursor: &mut StreamCursor,
) -> Result<(), BackboneError> {
    let mut seen = HashSet::new();
    let mut last = Headers::open(stream, DeliverPolicy::LastPerSubject, subjects.clone()).await?;
    let left = last
        .read(backbone, |message| {
            cursor.take(&message);
            seen.insert(message.subject);
        })
        .await?;
    // Fewer than announced: subjects without their last message, or messages that went in between, which the fence tells.
    if left > 0 {
        for hidden in hidden_subjects(stream, subjects, &seen).await? {
            tracing::info!(
                subject = hidden,
                "the server shows no last message of a subject; it is read whole"
            );
            let mut last = None;
            let mut all = Headers::open(stream, DeliverPolicy::All, hidden).await?;
            all.read(backbone, |message| last = Some(message)).await?;
            last.iter().for_each(|last| cursor.take(last));
        }
    }
    Ok(())
}

/// The stream's subjects that are not among those `seen`.
async fn hidden_subjects(
    stream: &Stream,
    subjects: String,
    seen: &HashSet<String>,
) -> Result<Vec<String>, BackboneError> {
    let listed = stream
        .info_with_subjects(subjects)
        .await
        .map_err(BackboneError::nats)?;
    let listed: Vec<(String, usize)> = listed.try_collect().await.map_err(BackboneError::nats)?;
    let subjects = listed.into_iter().map(|(subject, _)| subject);
    Ok(subjects.filter(|subject| !seen.contains(subject)).collect())
}

/// Headers of some messages of a stream, page by page.
struct Headers<'a> {
    stream: &'a Stream,
    consumer: PullConsumer,
    /// How many more the server has said there are.
    announced: u64,
}

impl<'a> Headers<'a> {
    async fn open(
        stream: &'a Stream,
        deliver_policy: DeliverPolicy,
        filter_subject: String,
    ) -> Result<Self, BackboneError> {
        let consumer = stream
            .create_consumer(pull::Config {
                description: Some("derives a cursor".to_owned()),
                deliver_policy,
                ack_policy: AckPolicy::None,
                headers_only: true,
                // Required with `LastPerSubject`.
                filter_subject,
                memory_storage: true,
                num_replicas: 1,
                inactive_threshold: INACTIVE,
                ..pull::Config::default()
            })
            .await
            .map_err(BackboneError::nats)?;
        Ok(Self {
            stream,
            announced: consumer.cached_info().num_pending,
            consumer,
        })
    }

    /// Reads all that come; answers how many of those announced have not.
    async fn read(
        &mut self,
        backbone: &Backbone,
        mut each: impl FnMut(Header),
    ) -> Result<u64, BackboneError> {
        while self.announced > 0 {
            let page = tokio::time::timeout(PAGE_TIMEOUT, self.page(backbone));
            let page = page
                .await
                .map_err(|_| BackboneError::nats("the stream's headers were not answered in time"))??;
            if page.is_empty() {
                break;
            }
            self.announced = self.announced.saturating_sub(page.len() as u64);
            page.into_iter().for_each(&mut each);
        }
        // A courtesy: the server would forget it by itself.
        let _ = self
            .stream
            .delete_consumer(&self.consumer.cached_info().name)
            .await;
        Ok(self.announced)
    }

    async fn page(&self, backbone: &Backbone) -> Result<Vec<Header>, BackboneError> {
        let fetch = self.consumer.fetch().max_messages(PAGE_MESSAGES).messages();
        let mut fetched = fetch.await.map_err(BackboneError::nats)?;
        let mut page = Vec::new();
        while let Some(message) = fetched.next().await {
            let message = message.map_err(BackboneError::nats)?;
            page.push(Header {
                place: message.info().map_err(BackboneError::nats)?.stream_sequence,
                stamp: Stamp::read(backbone.prefix(), &message.subject, message.headers.as_ref()),
                subject: message.subject.to_string(),
            });
        }
        Ok(page)
    }
}

/// What a message says of itself, without its body.
struct Header {
    subject: String,
    place: u64,
    stamp: Result<Stamp, MessageError>,
}

impl StreamCursor {
    /// Up to where a tenant's log has been published: what the stream holds of it or, where it holds nothing, what it
    /// has discarded.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn published(&self, log: &LogReader, tenant: TenantId) -> Result<Position, sqlx::Error> {
        match (self.tenants.get(&tenant), self.discarded_before) {
            (Some(end), _) => Ok(end.position),
            (None, Some(before)) => log.position_as_of(tenant, before).await,
            (None, None) => Ok(Position::ZERO),
        }
    }

    /// Takes in the last message of a subject.
    fn take(&mut self, last: &Header) {
        match &last.stamp {
            Ok(stamp) => self.raise(stamp, last.place),
            Err(error) => {
                self.foreign.push(last.place);
                tracing::warn!(%error, subject = last.subject, "a subject of the stream ends in what is no event of ours");
            }
        }
    }

    fn raise(&mut self, stamp: &Stamp, place: u64) {
        let found = TenantCursor {
            position: stamp.position,
            hash: stamp.hash,
        };
        let known = self.tenants.get(&stamp.tenant);
        if known.is_none_or(|known| known.position < found.position) {
            self.tenants.insert(stamp.tenant, found);
            self.places.insert(stamp.tenant, place);
        }
    }
}
