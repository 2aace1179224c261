//! The connection to NATS: made in the background, kept by itself, and watched.
//!
//! A process starts, and commands keep working, without it. Whoever needs it waits for [`Link::up`]; the link's
//! `generation` rises with each (re)connection, so that what was known before is checked again.

use std::time::Duration;

use async_nats::jetstream::context::{ContextBuilder, GetStreamErrorKind};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;

use crate::backbone::stream::{StreamPrefix, StreamSettings, WrongSetting, wrong_settings};

/// An answer that takes longer is taken for lost. Writing to a slow disk takes milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Two unanswered pings end a connection, so a server that hangs is noticed within six seconds.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const RECONNECT_PAUSE_MS: u64 = 50;
const RECONNECT_PAUSE_LIMIT_MS: u64 = 2_000;

/// Where the server is, who logs in, and what the streams are called and how they are kept.
#[derive(Clone)]
pub struct BackboneOptions {
    /// `nats://host:port`; several for a cluster.
    pub servers: Vec<String>,
    /// Login and protection; what the connection has to be like is put on top.
    pub connect: ConnectOptions,
    /// First part of all names.
    pub prefix: StreamPrefix,
    /// How streams are kept.
    pub settings: StreamSettings,
}

/// The backbone cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackboneError {
    /// The address or the login are no such thing.
    #[error("NATS cannot be used: {0}")]
    Connect(#[from] async_nats::ConnectError),
    /// Before the version that the log relies on.
    #[error("NATS {found} is too old: 2.10 or newer is needed")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// A stream is there with settings that would lose events.
    #[error("the stream {stream} has wrong settings: {}. Correct them (`nats stream edit`) or delete the stream, it is refilled from Postgres", list(.wrong))]
    WrongSettings {
        /// Which stream.
        stream: String,
        /// What is wrong.
        wrong: Vec<WrongSetting>,
    },
    /// It does not answer, or refuses.
    #[error("NATS: {0}")]
    Nats(String),
}

fn list(wrong: &[WrongSetting]) -> String {
    wrong
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

impl BackboneError {
    pub(super) fn nats(error: impl std::fmt::Display) -> Self {
        Self::Nats(error.to_string())
    }
}

/// How the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link {
    /// Whether it is up.
    pub up: bool,
    /// How many times it has come up.
    pub generation: u64,
}

/// The connection with the names and settings of the streams. Cheap to clone.
#[derive(Clone)]
pub struct Backbone {
    /// First, so that it is dropped first: a client that closes is then known to have been let go (`note`).
    link: watch::Receiver<Link>,
    client: Client,
    context: jetstream::Context,
    prefix: StreamPrefix,
    settings: StreamSettings,
}

impl Backbone {
    /// Starts to connect and returns at once; reconnects for ever, with growing pauses.
    ///
    /// # Errors
    /// Only when the address is none.
    pub async fn connect(options: BackboneOptions) -> Result<Self, BackboneError> {
        let (sender, link) = watch::channel(Link::default());
        let connect = options
            .connect
            .name("counterfoil")
            // A process knows of its own commits: their hints are for others.
            .no_echo()
            .retry_on_initial_connect()
            .max_reconnects(None)
            .connection_timeout(ANSWER_TIMEOUT)
            .request_timeout(Some(ANSWER_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .reconnect_delay_callback(reconnect_pause)
            .event_callback(move |event| {
                note(&sender, &event);
                async {}
            });
        let client = connect.connect(options.servers).await?;
        let context = ContextBuilder::new()
            .timeout(ANSWER_TIMEOUT)
            .build(client.clone());
        Ok(Self {
            client,
            context,
            prefix: options.prefix,
            settings: options.settings,
            link,
        })
    }

    /// The stream of a partition, created when absent, its settings checked.
    ///
    /// # Errors
    /// When it has other settings, or NATS is too old or does not answer.
    pub async fn ensure_stream(&self, partition: u32) -> Result<Stream, BackboneError> {
        let expected = self.settings.config(&self.prefix, partition);
        let stream = match self.find_stream(partition).await? {
            Some(stream) => stream,
            None => {
                tracing::info!(stream = expected.name, "creating the stream");
                let created = self.context.create_stream(expected.clone()).await;
                created.map_err(BackboneError::nats)?
            }
        };
        let wrong = wrong_settings(&stream.cached_info().config, &expected);
        if wrong.is_empty() {
            Ok(stream)
        } else {
            Err(BackboneError::WrongSettings {
                stream: expected.name,
                wrong,
            })
        }
    }

    /// Waits until the connection is up, at most for `patience`; answers whether it is.
    pub async fn connected(&self, patience: Duration) -> bool {
        let mut link = self.link.clone();
        tokio::time::timeout(patience, link.wait_for(|link| link.up))
            .await
            .is_ok_and(|up| up.is_ok())
    }

    /// The stream of a partition as it is, if it is.
    ///
    /// # Errors
    /// When NATS is too old or does not answer.
    pub async fn find_stream(&self, partition: u32) -> Result<Option<Stream>, BackboneError> {
        let found = self.context.get_stream(self.prefix.stream(partition)).await;
        match found {
            Err(error) if error.kind() == GetStreamErrorKind::Request => Err(BackboneError::nats(error)),
            // It is known only after an answer who answers.
            found => {
                self.check_version()?;
                match found {
                    Ok(stream) => Ok(Some(stream)),
                    Err(error) if is_absent(&error.kind()) => Ok(None),
                    Err(error) => Err(BackboneError::nats(error)),
                }
            }
        }
    }

    /// Makes the stream of a partition anew: whatever it held is gone.
    ///
    /// # Errors
    /// When NATS does not answer.
    pub(super) async fn remake_stream(&self, partition: u32) -> Result<(), BackboneError> {
        if self.find_stream(partition).await?.is_some() {
            let deleted = self.context.delete_stream(self.prefix.stream(partition)).await;
            deleted.map_err(BackboneError::nats)?;
        }
        self.ensure_stream(partition).await.map(drop)
    }

    fn check_version(&self) -> Result<(), BackboneError> {
        if self.client.is_server_compatible(2, 10, 0) {
            return Ok(());
        }
        let found = self.client.server_info().version;
        if found.is_empty() {
            return Err(BackboneError::Nats("not connected yet".to_owned()));
        }
        Err(BackboneError::TooOld { found })
    }

    /// How the connection stands, and how that changes.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// First part of all names.
    #[must_use]
    pub fn prefix(&self) -> &StreamPrefix {
        &self.prefix
    }

    /// How streams are kept.
    #[must_use]
    pub fn settings(&self) -> &StreamSettings {
        &self.settings
    }

    /// JetStream.
    #[must_use]
    pub fn context(&self) -> &jetstream::Context {
        &self.context
    }

    /// Core NATS.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// Waits until the connection is up. A change after that is news to `link`.
pub(super) async fn up(link: &mut watch::Receiver<Link>) -> Link {
    let found = link.wait_for(|link| link.up).await.map(|link| *link);
    match found {
        Ok(link) => link,
        // The sender goes only with the client: there will be no connection any more.
        Err(_) => std::future::pending().await,
    }
}

pub(super) fn is_absent(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn reconnect_pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(16);
    Duration::from_millis((RECONNECT_PAUSE_MS << doublings).min(RECONNECT_PAUSE_LIMIT_MS))
}

fn note(link: &watch::Sender<Link>, event: &Event) {
    match event {
        Event::Connected => {
            tracing::info!("NATS is connected");
            link.send_modify(|link| {
                link.up = true;
                link.generation += 1;
            });
        }
        // Nobody is left who would miss it: it was closed on purpose.
        Event::Disconnected | Event::Closed if link.receiver_count() == 0 => {}
        Event::Disconnected | Event::Closed => {
            tracing::warn!("NATS is away: read models and subscribers lag until it is back");
            link.send_modify(|link| link.up = false);
        }
        other => tracing::warn!(event = %other, "NATS"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_before_a_reconnection_grows_to_its_limit() {
        assert_eq!(reconnect_pause(1), Duration::from_millis(50));
        assert_eq!(reconnect_pause(3), Duration::from_millis(200));
        assert_eq!(reconnect_pause(usize::MAX), Duration::from_millis(2_000));
    }
}
