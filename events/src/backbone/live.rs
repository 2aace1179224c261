//! The live end of a stream: messages published from now on, over a consumer that is made again whenever it or the
//! connection is gone. It promises order while it lasts, and to say when it has begun or ended; what was published in
//! between, whoever listens must find out for himself.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backbone::connection::{Backbone, BackboneError, Link, up};

/// Messages that the client holds at most before it asks for more: at worst 16 MiB, usually 250 KiB.
const PULL_MESSAGES: usize = 256;
/// How long a pull waits for messages; the server sends a heartbeat meanwhile.
const PULL_EXPIRES: Duration = Duration::from_secs(20);
const PULL_HEARTBEAT: Duration = Duration::from_secs(3);
/// The server forgets a consumer that has not pulled for so long.
const INACTIVE: Duration = Duration::from_secs(120);
const REOPEN_PAUSE: Duration = Duration::from_millis(300);

/// What happened at the live end.
pub(super) enum LiveEvent {
    /// A message.
    Message(Box<async_nats::Message>),
    /// From here on nothing is missed, until [`LiveEvent::Lost`].
    Opened,
    /// The consumer or the connection is gone.
    Lost,
}

enum State {
    Closed { reopen_at: Instant },
    Opening(BoxFuture<'static, Result<pull::Stream, BackboneError>>),
    Open(Box<pull::Stream>),
}

/// The live end of one partition.
pub(super) struct Live {
    backbone: Backbone,
    partition: u32,
    description: String,
    link: watch::Receiver<Link>,
    state: State,
}

impl Live {
    pub(super) fn new(backbone: Backbone, partition: u32, description: String) -> Self {
        Self {
            link: backbone.link(),
            backbone,
            partition,
            description,
            state: State::Closed {
                reopen_at: Instant::now(),
            },
        }
    }

    /// Whether messages arrive.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// What happens next. Nothing is lost when the wait is given up.
    pub(super) async fn next(&mut self) -> LiveEvent {
        loop {
            match &mut self.state {
                State::Closed { reopen_at } => {
                    tokio::time::sleep_until(*reopen_at).await;
                    up(&mut self.link).await;
                    let (backbone, description) = (self.backbone.clone(), self.description.clone());
                    self.state = State::Opening(open(backbone, self.partition, description).boxed());
                }
                State::Opening(opening) => match opening.await {
                    Ok(messages) => {
                        self.state = State::Open(Box::new(messages));
                        return LiveEvent::Opened;
                    }
                    Err(error) => {
                        tracing::debug!(partition = self.partition, %error, "the stream cannot be followed");
                        self.close();
                    }
                },
                State::Open(messages) => {
                    tokio::select! {
                        message = messages.next() => match message {
                            Some(Ok(message)) => return LiveEvent::Message(Box::new(message.message)),
                            Some(Err(error)) => {
                                tracing::info!(partition = self.partition, %error, "the consumer is gone; making it again");
                                return self.lose();
                            }
                            None => return self.lose(),
                        },
                        _ = self.link.changed() => return self.lose(),
                    }
                }
            }
        }
    }

    /// The next message, if one is here.
    pub(super) fn next_now(&mut self) -> Option<Box<async_nats::Message>> {
        let State::Open(messages) = &mut self.state else {
            return None;
        };
        match messages.next().now_or_never() {
            Some(Some(Ok(message))) => Some(Box::new(message.message)),
            // An error is told again by the next call of `next`, which waits for it.
            Some(Some(Err(_)) | None) => {
                self.close();
                None
            }
            None => None,
        }
    }

    fn lose(&mut self) -> LiveEvent {
        self.close();
        LiveEvent::Lost
    }

    fn close(&mut self) {
        self.state = State::Closed {
            reopen_at: Instant::now() + REOPEN_PAUSE,
        };
    }
}

async fn open(
    backbone: Backbone,
    partition: u32,
    description: String,
) -> Result<pull::Stream, BackboneError> {
    let name = backbone.prefix().stream(partition);
    let stream = backbone.context().get_stream(name).await;
    let stream = stream.map_err(BackboneError::nats)?;
    let consumer = stream.create_consumer(pull::Config {
        description: Some(description),
        deliver_policy: DeliverPolicy::New,
        ack_policy: AckPolicy::None,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: INACTIVE,
        ..pull::Config::default()
    });
    let consumer = consumer.await.map_err(BackboneError::nats)?;
    let messages = consumer
        .stream()
        .max_messages_per_batch(PULL_MESSAGES)
        .expires(PULL_EXPIRES)
        .heartbeat(PULL_HEARTBEAT)
        .messages();
    messages.await.map_err(BackboneError::nats)
}
