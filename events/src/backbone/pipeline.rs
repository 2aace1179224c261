//! Publishing behind the fence: many messages under way, every answer awaited, in order.
//!
//! Each message names what it must directly follow in the stream: the sequence *and* the id of the message before it,
//! as predicted. The server refuses it when anything else has been published, or the stream was rewound; and since none
//! follows a message that was refused, all later ones are refused too. The first answer that is not the predicted one
//! ends the pipeline: it is drained and thrown away.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures::future::join_all;

use crate::backbone::message::{self, Follows};
use crate::ids::{Position, TenantId};
use crate::ledger::StoredEvent;

/// What is still under way when the pipeline ends gets this long to arrive.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer that was not the predicted one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// Somebody else published, or the stream was rewound (errors 10071 and 10070).
    #[error("the stream is not where it was left: somebody else published, or it was rewound")]
    Fenced,
    /// The server remembers the message's id. Whether it still has the message is another question.
    #[error("position {position} of tenant {tenant} was answered as a duplicate")]
    Duplicate {
        /// Whose.
        tenant: TenantId,
        /// Which.
        position: Position,
    },
    /// No answer, or none that can be understood.
    #[error("the stream's answer is lost: {0}")]
    Lost(String),
}

struct UnderWay {
    tenant: TenantId,
    position: Position,
    sequence: u64,
    answer: PublishAckFuture,
}

/// Messages under way to one stream.
pub(super) struct Pipeline {
    context: jetstream::Context,
    stream: String,
    window: usize,
    follows: Follows,
    under_way: VecDeque<UnderWay>,
}

impl Pipeline {
    /// To `stream`, which ends at `last_sequence`, with at most `window` messages under way. The first message names
    /// the sequence only: a server that was restarted may not know its last message's id any more.
    pub(super) fn new(
        context: jetstream::Context,
        stream: String,
        last_sequence: u64,
        window: usize,
    ) -> Self {
        let follows = Follows {
            sequence: last_sequence,
            id: None,
        };
        Self {
            context,
            stream,
            window,
            follows,
            under_way: VecDeque::with_capacity(window),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Sends an event's message; waits for the oldest answer when the window is full. `again` as in [`message::id`].
    pub(super) async fn publish(
        &mut self,
        subject: String,
        event: StoredEvent,
        again: bool,
    ) -> Result<(), Broken> {
        if self.under_way.len() >= self.window {
            self.settle_oldest().await?;
        }
        let id = message::id(&event.recorded, again.then_some(self.follows.sequence));
        let headers = message::headers(&event, &id, &self.follows);
        let (tenant, position) = (event.recorded.tenant, event.recorded.position);
        let body = Bytes::from(event.recorded.envelope);
        let message = PublishMessage::build().headers(headers).payload(body);
        let answer = self.context.send_publish(subject, message).await;
        self.follows = Follows {
            sequence: self.follows.sequence + 1,
            id: Some(id),
        };
        self.under_way.push_back(UnderWay {
            tenant,
            position,
            sequence: self.follows.sequence,
            answer: answer.map_err(broken)?,
        });
        Ok(())
    }

    /// Waits for all answers.
    pub(super) async fn settle(&mut self) -> Result<(), Broken> {
        while !self.under_way.is_empty() {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    async fn settle_oldest(&mut self) -> Result<(), Broken> {
        let Some(oldest) = self.under_way.pop_front() else {
            return Ok(());
        };
        let answer = oldest.answer.await.map_err(broken)?;
        if answer.duplicate {
            return Err(Broken::Duplicate {
                tenant: oldest.tenant,
                position: oldest.position,
            });
        }
        if answer.stream != self.stream || answer.sequence != oldest.sequence {
            let (stream, sequence) = (answer.stream, answer.sequence);
            return Err(Broken::Lost(format!(
                "stored as {sequence} of {stream}, not as predicted"
            )));
        }
        metrics::counter!("counterfoil_relay_published_total").increment(1);
        Ok(())
    }

    /// Lets what is under way arrive or be refused, so that the stream can be read as it then is.
    pub(super) async fn drain(self) {
        let answers = self
            .under_way
            .into_iter()
            .map(|under_way| under_way.answer.into_future());
        // What does not arrive in time may arrive later; the fence holds all the same.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, join_all(answers)).await;
    }
}

fn broken(error: PublishError) -> Broken {
    match error.kind() {
        PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => Broken::Fenced,
        _ => Broken::Lost(error.to_string()),
    }
}
