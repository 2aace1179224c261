//! A stream of events as Server-Sent Events: `id` is the position, `event` the type, `data` the document.

use futures::StreamExt;

use super::session::{Output, Session};
use crate::http::answer::Response;
use crate::http::stream::{SseEvent, sse_finite};

pub(super) fn answer(session: Session) -> Response {
    sse_finite(session.outputs().map(frame))
}

fn frame(output: Output) -> SseEvent {
    let (position, event, data) = match output {
        Output::Event(item) => (
            item.position(),
            item.event_type().to_owned(),
            item.json().to_owned(),
        ),
        Output::Progress(progress) => (progress.position, "progress".to_owned(), json(&progress)),
        Output::Ended(ending) => (ending.position, "dropped".to_owned(), json(&ending)),
    };
    SseEvent {
        id: Some(position.to_string()),
        event: Some(event.into()),
        data,
    }
}

/// Numbers and texts under fixed names: nothing that JSON cannot hold.
pub(super) fn json(document: &impl serde::Serialize) -> String {
    serde_json::to_string(document).unwrap_or_default()
}
