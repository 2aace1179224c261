//! What a stream no longer holds because it was made to forget it, as against what it has lost.
//!
//! A tenant that is absent from a stream was never published, or its messages have been discarded by age or size.
//! Taking the second for the first publishes a tenant that is quiet for a month again each month; taking the first for
//! the second loses a whole log. So an event counts as discarded only when
//!
//! - it was recorded before the stream's oldest message was. By the ledger's time on both sides: when the message was
//!   *published* says nothing, since a refill publishes old events now; and
//! - it is older than messages get to be, or the stream is full.
//!
//! A stream that somebody purged is refilled with the oldest event first (`session`), so that a refill which is
//! interrupted after its first message has nothing absent that is older.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, State, Stream};
use chrono::{DateTime, Utc};

use crate::backbone::connection::{Backbone, BackboneError};
use crate::backbone::message;
use crate::timestamp::Timestamp;

/// How far the clocks of two processes that write one log may be apart.
const CLOCK_MARGIN: chrono::Duration = chrono::Duration::minutes(10);
/// A stream with less room than this discards its oldest message for the next one: an envelope of 65,535 bytes with
/// its headers takes less.
const LARGEST_MESSAGE_BYTES: u64 = 128 * 1024;

/// The oldest message that a stream holds.
#[derive(Debug, Clone, Copy)]
struct Oldest {
    /// When the stream took it.
    published: DateTime<Utc>,
    /// When its event was recorded; none for a message that is no event.
    recorded: Option<Timestamp>,
}

/// Events recorded before this count as discarded from `stream`; none for a stream that has never discarded anything.
///
/// # Errors
/// When NATS does not answer.
pub(super) async fn discarded_before(
    backbone: &Backbone,
    stream: &Stream,
    state: &State,
    config: &Config,
) -> Result<Option<Timestamp>, BackboneError> {
    if state.first_sequence <= 1 {
        return Ok(None);
    }
    let aged = begin_of_retention(config.max_age, Utc::now());
    let oldest = match state.messages {
        0 => None,
        _ => oldest(backbone, stream, state, config).await?,
    };
    Ok(match oldest {
        Some(oldest) => Some(bound(oldest, is_full(state, config), aged)),
        // Empty: by age when its last message was old enough, otherwise somebody purged it, and it is refilled.
        None => {
            let last = moment(state.last_timestamp);
            (last <= aged).then(|| Timestamp::from(last - CLOCK_MARGIN))
        }
    })
}

/// The stream's first message now: the one that `state` names may have been discarded since.
async fn oldest(
    backbone: &Backbone,
    stream: &Stream,
    state: &State,
    config: &Config,
) -> Result<Option<Oldest>, BackboneError> {
    let first = stream
        .get_first_raw_message_by_subject(config.subjects.concat(), state.first_sequence)
        .await;
    let first = match first {
        Ok(first) => first,
        Err(error) if is_none(&error) => return Ok(None),
        Err(error) => return Err(BackboneError::nats(error)),
    };
    let headers = Some(&first.headers);
    let event = message::decode(backbone.prefix(), &first.subject, headers, &first.payload);
    let recorded = event.ok().and_then(|event| Some(event.parse().ok()?.recorded_at));
    Ok(Some(Oldest {
        published: moment(first.time),
        recorded,
    }))
}

fn is_none(error: &async_nats::jetstream::stream::RawMessageError) -> bool {
    use async_nats::jetstream::stream::RawMessageErrorKind;
    matches!(error.kind(), RawMessageErrorKind::NoMessageFound)
}

/// What was published before this has been discarded by its age.
fn begin_of_retention(max_age: Duration, now: DateTime<Utc>) -> DateTime<Utc> {
    let max_age = chrono::Duration::from_std(max_age).unwrap_or(chrono::Duration::MAX);
    // JetStream's zero is for ever.
    let begin = (!max_age.is_zero()).then(|| now.checked_sub_signed(max_age));
    begin.flatten().unwrap_or(DateTime::UNIX_EPOCH)
}

fn is_full(state: &State, config: &Config) -> bool {
    u64::try_from(config.max_bytes)
        .is_ok_and(|max_bytes| max_bytes > 0 && state.bytes + LARGEST_MESSAGE_BYTES >= max_bytes)
}

fn bound(oldest: Oldest, is_full: bool, aged: DateTime<Utc>) -> Timestamp {
    let recorded = oldest.recorded.map_or(oldest.published, Timestamp::as_datetime);
    // A message that claims to be recorded after it was published does not move the bound up.
    let recorded = recorded.min(oldest.published) - CLOCK_MARGIN;
    Timestamp::from(if is_full { recorded } else { recorded.min(aged) })
}

fn moment(time: async_nats::datetime::DateTime) -> DateTime<Utc> {
    DateTime::from_timestamp(time.unix_timestamp(), time.nanosecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn day(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::Duration::days(day)
    }

    fn oldest(published: i64, recorded: i64) -> Oldest {
        Oldest {
            published: day(published),
            recorded: Some(day(recorded).into()),
        }
    }

    #[test]
    fn what_is_younger_than_messages_get_to_be_is_discarded_by_a_full_stream_alone() {
        let margin = |time: DateTime<Utc>| Timestamp::from(time - CLOCK_MARGIN);
        // In the ordinary course of things a message is recorded when it is published.
        assert_eq!(bound(oldest(100, 100), false, day(70)), Timestamp::from(day(70)));
        assert_eq!(bound(oldest(100, 100), true, day(70)), margin(day(100)));
        // A refill under way: published today, recorded long ago.
        assert_eq!(bound(oldest(100, 3), false, day(70)), margin(day(3)));
        assert_eq!(bound(oldest(100, 3), true, day(70)), margin(day(3)));
    }

    #[test]
    fn a_claim_to_be_from_the_future_and_a_message_without_an_event_are_as_old_as_their_message() {
        let at_hundred = Timestamp::from(day(100) - CLOCK_MARGIN);
        assert_eq!(bound(oldest(100, 900), true, day(70)), at_hundred);
        let foreign = Oldest {
            published: day(100),
            recorded: None,
        };
        assert_eq!(bound(foreign, true, day(70)), at_hundred);
    }

    #[test]
    fn without_an_age_limit_nothing_is_discarded_by_age() {
        assert_eq!(begin_of_retention(Duration::ZERO, day(100)), DateTime::UNIX_EPOCH);
        assert_eq!(begin_of_retention(Duration::from_secs(86_400), day(100)), day(99));
    }
}
