//! Rows of COPY's text format, as they pass: fields between tabs, a line a row, what is special escaped by a backslash.
//!
//! Of the events' file only; a row that cannot be read is an entry that says so, since it is in the backup all the same.

use chrono::{DateTime, Utc};
use counterfoil_events::ids::{EventHash, EventId, KeyId, Position, Sequence, TenantId};
use counterfoil_events::signature::Signature;
use counterfoil_events::timestamp::Timestamp;
use counterfoil_events::verify::{Columns, Entry, FindingKind, StoredEvent};

/// As Postgres prints a timestamptz where DateStyle is ISO and the time zone UTC, which is what sqlx asks for.
const TIME: &str = "%Y-%m-%d %H:%M:%S%.f%#z";
const FIELDS: usize = 13;

/// Lines out of pieces that end anywhere.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Calls `took` with each line that is whole now, without its end.
    pub fn feed(&mut self, piece: &[u8], mut took: impl FnMut(&[u8])) {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            if self.0.is_empty() {
                took(line);
            } else {
                self.0.extend_from_slice(line);
                took(&self.0);
                self.0.clear();
            }
        }
        self.0.extend_from_slice(rest);
    }
}

/// Whose event the line holds, and the event.
pub(super) fn event(line: &[u8]) -> (Option<TenantId>, Entry) {
    let mut fields = line.split(|byte| *byte == b'\t').map(unescaped);
    let fields: [Option<Vec<u8>>; FIELDS] = std::array::from_fn(|_| fields.next().flatten());
    let tenant = text(&fields[0]).ok().and_then(|id| id.parse().ok());
    let entry = stored(&fields).map_or_else(
        |detail| Entry::Unreadable {
            position: parsed(&fields[1]).ok().map(Position::from_i64),
            kind: FindingKind::Malformed,
            detail: detail.to_owned(),
        },
        Entry::Event,
    );
    (tenant, entry)
}

fn stored(fields: &[Option<Vec<u8>>; FIELDS]) -> Result<StoredEvent, &'static str> {
    Ok(StoredEvent {
        position: Some(Position::from_i64(parsed(&fields[1])?)),
        envelope: text(&fields[12])?.to_owned(),
        hash: EventHash::try_from(&*bytes(&fields[9])?).map_err(|_| "hash has another length")?,
        key_id: KeyId::try_from(&*bytes(&fields[10])?).map_err(|_| "key_id has another length")?,
        signature: Signature::try_from(&*bytes(&fields[11])?).map_err(|_| "signature has another length")?,
        columns: Some(Box::new(Columns {
            event_id: Some(EventId(parsed(&fields[2])?)),
            aggregate: Some(text(&fields[3])?.to_owned()),
            aggregate_id: Some(text(&fields[4])?.to_owned()),
            sequence: Some(Sequence::from_i64(parsed(&fields[5])?)),
            event_type: Some(text(&fields[6])?.to_owned()),
            version: Some(text(&fields[7])?.to_owned()),
            recorded_at: Some(time(&fields[8])?),
        })),
    })
}

/// A field as it was before it was escaped; `None` is NULL.
fn unescaped(field: &[u8]) -> Option<Vec<u8>> {
    if field == b"\\N" {
        return None;
    }
    let mut plain = Vec::with_capacity(field.len());
    let mut bytes = field.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            // COPY writes no other escapes than these and a backslash before itself.
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(other) => *other,
                None => b'\\',
            },
            other => *other,
        });
    }
    Some(plain)
}

fn text(field: &Option<Vec<u8>>) -> Result<&str, &'static str> {
    let field = field.as_ref().ok_or("a column is empty")?;
    std::str::from_utf8(field).map_err(|_| "a column is not UTF-8")
}

fn parsed<T: std::str::FromStr>(field: &Option<Vec<u8>>) -> Result<T, &'static str> {
    text(field)?
        .parse()
        .map_err(|_| "a number or an id cannot be read")
}

/// A bytea, in hexadecimal digits.
fn bytes(field: &Option<Vec<u8>>) -> Result<Vec<u8>, &'static str> {
    let digits = text(field)?.strip_prefix("\\x");
    let bytes = digits.and_then(|digits| hex::decode(digits).ok());
    bytes.ok_or("a column holds no bytes in hexadecimal digits")
}

fn time(field: &Option<Vec<u8>>) -> Result<Timestamp, &'static str> {
    let time = DateTime::parse_from_str(text(field)?, TIME).map_err(|_| "recorded_at cannot be read")?;
    Ok(time.with_timezone(&Utc).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_come_whole_wherever_the_pieces_end() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for piece in [&b"one\ntw"[..], b"o", b"\n\nfo", b"ur\n"] {
            lines.feed(piece, |line| seen.push(String::from_utf8(line.to_vec()).unwrap()));
        }
        assert_eq!(seen, ["one", "two", "", "four"]);
    }

    #[test]
    fn what_is_escaped_comes_back_and_null_is_nothing() {
        assert_eq!(unescaped(br"a\tb\\n\nc\\\r"), Some(b"a\tb\\n\nc\\\r".to_vec()));
        assert_eq!(unescaped(br"\N"), None);
        assert_eq!(unescaped(br"\\N"), Some(b"\\N".to_vec()));
        assert_eq!(
            bytes(&unescaped(br"\\x00ff")),
            Ok(vec![0, 255]),
            "as COPY writes a bytea"
        );
    }

    #[test]
    fn times_are_read_with_and_without_fractions() {
        let read = |text: &str| time(&Some(text.as_bytes().to_vec())).map(|time| time.to_string());
        assert_eq!(
            read("2026-11-20 12:00:00.5+00"),
            Ok("2026-11-20T12:00:00.500000Z".to_owned())
        );
        assert_eq!(
            read("2026-11-20 12:00:00+00"),
            Ok("2026-11-20T12:00:00.000000Z".to_owned())
        );
        assert!(read("infinity").is_err());
    }

    #[test]
    fn a_row_that_is_short_is_unreadable_and_keeps_its_place() {
        let (tenant, entry) = event(b"01933b5e-0000-7000-8000-000000000001\t7\tx");
        assert!(tenant.is_some());
        let Entry::Unreadable { position, .. } = entry else {
            unreachable!("{entry:?}")
        };
        assert_eq!(position, Some(Position(7)));
    }
}
