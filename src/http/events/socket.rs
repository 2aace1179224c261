//! A stream of events as WebSocket messages: each a text, the event's document; `{"progress": …}` and
//! `{"dropped": …}` beside them. After the last one the socket is closed with a code and the reason.
//!
//! What the client sends means nothing but that it is there.

use std::pin::pin;
use std::time::Duration;

use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio::time::{Instant, interval_at, timeout};

use super::session::{Ending, Output, Reason, Session};
use crate::http::stream::{Message, WebSocket};

/// How often a client has to show that it is there: below the 60 s after which proxies hang up.
const PING: Duration = Duration::from_secs(15);
/// For a message that the client does not take.
const STALLED: Duration = Duration::from_secs(30);

pub(super) async fn serve(socket: WebSocket, session: Session) {
    let (mut to_client, mut from_client) = socket.split();
    let mut outputs = pin!(session.outputs());
    let mut ping = interval_at(Instant::now() + PING, PING);
    let mut heard = true;
    loop {
        let message = tokio::select! {
            output = outputs.next() => match output {
                Some(Output::Ended(ending)) => return say_goodbye(&mut to_client, ending).await,
                Some(output) => text_of(output),
                None => return,
            },
            received = from_client.next() => match received {
                Some(Ok(message)) if !message.is_close() => {
                    heard = true;
                    continue;
                }
                _ => return,
            },
            _ = ping.tick() => match std::mem::take(&mut heard) {
                true => Message::ping(Vec::new()),
                false => return,
            },
        };
        if !send(&mut to_client, message).await {
            return;
        }
    }
}

fn text_of(output: Output) -> Message {
    match output {
        Output::Event(item) => Message::text(item.json()),
        Output::Progress(progress) => Message::text(json!({ "progress": progress }).to_string()),
        Output::Ended(ending) => Message::text(json!({ "dropped": ending }).to_string()),
    }
}

async fn say_goodbye(to_client: &mut SplitSink<WebSocket, Message>, ending: Ending) {
    let reason = ending.reason;
    // RFC 6455 §7.4.1: going away; try again later; policy violation; internal error.
    let code: u16 = match reason {
        Reason::Draining => 1001,
        Reason::Slow => 1013,
        Reason::CredentialRevoked | Reason::TenantSuspended => 1008,
        Reason::LogDamaged => 1011,
    };
    let goodbye = [
        text_of(Output::Ended(ending)),
        Message::close_with(code, reason.as_str()),
    ];
    for message in goodbye {
        if !send(to_client, message).await {
            return;
        }
    }
}

/// False for a client that has gone, or does not read.
async fn send(to_client: &mut SplitSink<WebSocket, Message>, message: Message) -> bool {
    matches!(timeout(STALLED, to_client.send(message)).await, Ok(Ok(())))
}
