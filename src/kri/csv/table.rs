//! A CSV document (RFC 4180) with a heading, read row by row.
//!
//! Fields are separated by commas and trimmed; blank lines are skipped; a byte-order mark is dropped. Rows must be as
//! long as the heading: a row that is not has lost or gained a comma, and its values stand in the wrong columns.

use csv::{ErrorKind, Position, Reader, ReaderBuilder, StringRecord, Trim};

use counterfoil_events::kri::source::CsvSource;
use counterfoil_events::kri::text::{ColumnName, FilterValue};
use counterfoil_events::kri::value::KriValue;
use counterfoil_events::timestamp::Timestamp;

use crate::kri::error::CsvError;
use crate::kri::observed;

/// Most columns that are read.
const MAX_COLUMNS: usize = 1_000;

/// A document, opened at its first row.
pub(super) struct Table<'t> {
    reader: Reader<&'t [u8]>,
    lines: Lines<'t>,
    record: StringRecord,
    columns: Columns<'t>,
}

/// A named column, found.
#[derive(Clone, Copy)]
struct Column<'t> {
    name: &'t ColumnName,
    index: usize,
}

struct Columns<'t> {
    value: Column<'t>,
    time: Option<Column<'t>>,
    filter: Option<(Column<'t>, &'t FilterValue)>,
}

/// A row that passes the filter.
pub(super) struct Row<'r> {
    record: &'r StringRecord,
    columns: &'r Columns<'r>,
    line: u64,
}

impl<'t> Table<'t> {
    /// Reads the heading and finds the source's columns in it.
    pub(super) fn open(text: &'t str, source: &'t CsvSource) -> Result<Self, CsvError> {
        // Each quote that opens is closed and each that is doubled is two: an odd number means that one is missing,
        // and that a reader would take the rest of the document for one field.
        if !text.matches('"').count().is_multiple_of(2) {
            return Err(CsvError::UnclosedQuote);
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.as_bytes());
        let mut lines = Lines::of(text);
        let columns = Columns::find(reader.headers().map_err(|error| lines.malformed(&error))?, source)?;
        Ok(Self {
            reader,
            lines,
            record: StringRecord::new(),
            columns,
        })
    }

    /// The next row that passes the filter.
    pub(super) fn next_row(&mut self) -> Result<Option<Row<'_>>, CsvError> {
        while self
            .reader
            .read_record(&mut self.record)
            .map_err(|error| self.lines.malformed(&error))?
        {
            if self.columns.admit(&self.record) {
                return Ok(Some(Row {
                    line: self.lines.of_record(self.record.position()),
                    record: &self.record,
                    columns: &self.columns,
                }));
            }
        }
        Ok(None)
    }
}

impl<'t> Columns<'t> {
    fn find(heading: &StringRecord, source: &'t CsvSource) -> Result<Self, CsvError> {
        if heading.len() > MAX_COLUMNS {
            return Err(CsvError::TooManyColumns {
                found: heading.len(),
                limit: MAX_COLUMNS,
            });
        }
        let filter = source.filter.as_ref();
        Ok(Self {
            value: Column::find(heading, &source.column)?,
            time: source
                .time_column
                .as_ref()
                .map(|name| Column::find(heading, name))
                .transpose()?,
            filter: filter
                .map(|f| Ok((Column::find(heading, &f.column)?, &f.equals)))
                .transpose()?,
        })
    }

    fn admit(&self, record: &StringRecord) -> bool {
        self.filter
            .is_none_or(|(column, equals)| record.get(column.index) == Some(equals.as_str()))
    }
}

impl<'t> Column<'t> {
    fn find(heading: &StringRecord, name: &'t ColumnName) -> Result<Self, CsvError> {
        let mut places = heading
            .iter()
            .enumerate()
            .filter(|(_, written)| *written == name.as_str());
        let (index, _) = places
            .next()
            .ok_or_else(|| CsvError::ColumnMissing { column: name.clone() })?;
        match places.next() {
            None => Ok(Self { name, index }),
            Some(_) => Err(CsvError::ColumnAmbiguous { column: name.clone() }),
        }
    }
}

impl Row<'_> {
    /// The line on which it begins.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn value(&self) -> Result<KriValue, CsvError> {
        let column = self.columns.value;
        self.field(column)?.parse().map_err(|error| CsvError::Value {
            line: self.line,
            column: column.name.clone(),
            error,
        })
    }

    pub(super) fn observed_at(&self) -> Result<Option<Timestamp>, CsvError> {
        let Some(column) = self.columns.time else {
            return Ok(None);
        };
        match observed::parse(self.field(column)?) {
            Some(time) => Ok(Some(time)),
            None => Err(CsvError::Time {
                line: self.line,
                column: column.name.clone(),
            }),
        }
    }

    fn field(&self, column: Column<'_>) -> Result<&str, CsvError> {
        let written = self.record.get(column.index).unwrap_or_default();
        if written.is_empty() {
            return Err(CsvError::ValueMissing {
                line: self.line,
                column: column.name.clone(),
            });
        }
        Ok(written)
    }
}

/// Counts lines as an editor does. The reader's own count goes wrong behind CRLF and blank lines, because it
/// notes where a record begins before it has skipped the line ends in front of it.
struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    line: u64,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
            line: 1,
        }
    }

    /// The line on which the record begins that the reader noted at `position`. Records are asked for in order.
    fn of_record(&mut self, position: Option<&Position>) -> u64 {
        let noted = position
            .and_then(|position| usize::try_from(position.byte()).ok())
            .unwrap_or(0);
        while let Some(byte) = self.text.get(self.at) {
            let is_line_end = matches!(byte, b'\r' | b'\n');
            if self.at >= noted && !is_line_end {
                break;
            }
            let is_half = *byte == b'\r' && self.text.get(self.at + 1) == Some(&b'\n');
            self.line += u64::from(is_line_end && !is_half);
            self.at += 1;
        }
        self.line
    }

    fn malformed(&mut self, error: &csv::Error) -> CsvError {
        let line = self.of_record(error.position());
        match error.kind() {
            ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => CsvError::Ragged {
                line,
                found: *len,
                expected: *expected_len,
            },
            _ => CsvError::Malformed { line },
        }
    }
}
