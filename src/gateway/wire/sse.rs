//! Server-sent events, read (WHATWG HTML §9.2). `crate::http::stream` writes them.
//!
//! The reader is fed bytes as they come: chunk borders may fall anywhere, also inside a UTF-8 sequence or
//! between CR and LF. *For every chunking of a byte stream the events are the same* (a property test).
//! Lines and events are bounded, so that an endless one costs an error and not the memory.

/// Largest event that is taken, data and comments alike. Providers' chunks stay under 64 KiB; an event with
/// a whole image in base64 is larger than anything this surface forwards.
pub const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

/// What ends a well-formed stream of completions.
pub const DONE: &str = "[DONE]";

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line or event beyond the limit.
    #[error("an event of the stream is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit that was met.
        limit_bytes: usize,
    },
    /// A line that is not UTF-8.
    #[error("the stream is not UTF-8")]
    NotUtf8,
}

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SseEvent {
    /// The `event` field, empty if there was none.
    pub event: String,
    /// The `data` fields, joined by line feeds.
    pub data: String,
}

/// An incremental reader.
#[derive(Debug)]
pub struct SseReader {
    limit_bytes: usize,
    line: Vec<u8>,
    event: String,
    data: String,
    has_data: bool,
    /// The last byte was a CR: a LF right after it belongs to the same line end.
    after_cr: bool,
    /// Bytes of the stream's first line may begin with a byte order mark.
    at_start: bool,
}

impl Default for SseReader {
    fn default() -> Self {
        Self::new(MAX_EVENT_BYTES)
    }
}

impl SseReader {
    /// A reader that refuses events and lines larger than this.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            line: Vec::new(),
            event: String::new(),
            data: String::new(),
            has_data: false,
            after_cr: false,
            at_start: true,
        }
    }

    /// Takes the next bytes and appends the events that they complete. What stands after the last blank
    /// line is kept for the next call; at the end of the stream it is dropped, as the standard says.
    ///
    /// # Errors
    /// See [`SseError`]; the reader is not to be used after one.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            match rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                None => {
                    self.keep(rest)?;
                    break;
                }
                Some(end) => {
                    self.keep(&rest[..end])?;
                    self.after_cr = rest[end] == b'\r';
                    rest = &rest[end + 1..];
                    self.end_line(events)?;
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), SseError> {
        if self.line.len() + part.len() + self.data.len() > self.limit_bytes {
            return Err(SseError::TooLarge {
                limit_bytes: self.limit_bytes,
            });
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        let bytes = std::mem::take(&mut self.line);
        let mut line = std::str::from_utf8(&bytes).map_err(|_| SseError::NotUtf8)?;
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch(events);
        } else {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            self.take_field(field, value.strip_prefix(' ').unwrap_or(value));
        }
        // The line's memory is used again for the next one.
        self.line = bytes;
        self.line.clear();
        Ok(())
    }

    fn take_field(&mut self, field: &str, value: &str) {
        match field {
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.event),
            // Comments (an empty field name), `id`, `retry` and unknown fields say nothing to us.
            _ => {}
        }
    }

    fn dispatch(&mut self, events: &mut Vec<SseEvent>) {
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) {
            events.push(SseEvent { event, data });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn read(chunks: &[&[u8]]) -> Result<Vec<SseEvent>, SseError> {
        let mut reader = SseReader::new(4096);
        let mut events = Vec::new();
        for chunk in chunks {
            reader.feed(chunk, &mut events)?;
        }
        Ok(events)
    }

    fn data(events: &[SseEvent]) -> Vec<&str> {
        events.iter().map(|event| event.data.as_str()).collect()
    }

    #[test]
    fn all_three_line_ends_comments_and_several_data_lines_are_read() {
        let text = b"\xef\xbb\xbf: hello\ndata: a\n\ndata:b\r\n\r\nevent: x\rdata: c\rdata:  d\r\rid: 7\n\ndata\n\ndata: lost";
        let events = read(&[text]).unwrap();
        assert_eq!(data(&events), ["a", "b", "c\n d", ""]);
        assert_eq!(events[2].event, "x");
    }

    #[test]
    fn an_endless_line_and_an_endless_event_are_refused() {
        let line = vec![b'x'; 5000];
        assert_eq!(read(&[&line]), Err(SseError::TooLarge { limit_bytes: 4096 }));
        let event = b"data: 0123456789\n".repeat(500);
        assert_eq!(read(&[&event]), Err(SseError::TooLarge { limit_bytes: 4096 }));
        assert_eq!(read(&[b"data: \xff\n\n"]), Err(SseError::NotUtf8));
    }

    #[test]
    fn what_the_server_writes_is_read_back() {
        use crate::http::stream::SseEvent as Written;
        let written = [r#"{"a":1}"#, "two\nlines", DONE].map(|data| Written::data(data).encode());
        let text = written.concat();
        assert_eq!(data(&read(&[&text]).unwrap()), [r#"{"a":1}"#, "two\nlines", DONE]);
    }

    proptest! {
        #[test]
        fn every_chunking_of_a_stream_gives_the_same_events(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("data: "), Just("data:"), Just("event: e"), Just(": c"), Just("é😀"), Just("{\"a\":1}"),
                    Just("\n"), Just("\r"), Just("\r\n"), Just("\n\n"), Just("\r\n\r\n"), Just("\u{feff}"), Just("id: 1"),
                ],
                0..40,
            ),
            cuts in proptest::collection::vec(0usize..400, 0..20),
        ) {
            let stream = pieces.concat().into_bytes();
            let whole = read(&[&stream]).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&chunks).unwrap(), whole.clone());
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert_eq!(read(&bytes).unwrap(), whole);
        }
    }
}
