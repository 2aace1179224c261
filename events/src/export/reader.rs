//! Reads an export file line by line. A line that cannot be read is a line too: what follows it still is read.

use std::io::{self, BufRead, Read};

use serde::Deserialize;

use crate::export::{DocumentLine, EXPORT_FORMAT, EventLine, Header, MAX_LINE_BYTES, Trailer};

/// What a line of an export is.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first.
    Header(Header),
    /// A key event of the platform log.
    Key(EventLine),
    /// A document.
    Document(DocumentLine),
    /// An event of the exported log.
    Event(EventLine),
    /// The last.
    Trailer(Trailer),
    /// Not a line of an export.
    #[serde(skip)]
    Unreadable(String),
}

/// Why a file cannot be read as an export at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file refuses.
    #[error("reading the export: {0}")]
    Io(#[from] io::Error),
    /// It does not begin as an export does.
    #[error("not an export file: {0}")]
    NotAnExport(String),
    /// A later format.
    #[error("export format {0}: this build reads format {EXPORT_FORMAT}; upgrade it")]
    UnknownFormat(u32),
}

/// Reads one export.
pub struct ExportReader<R: BufRead> {
    input: R,
    line: Vec<u8>,
    bytes: u64,
}

impl<R: BufRead> ExportReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When the file does not begin as an export does.
    pub fn open(input: R) -> Result<(Header, Self), ReadError> {
        let mut reader = Self {
            input,
            line: Vec::new(),
            bytes: 0,
        };
        match reader.next_line()? {
            Some(Line::Header(header)) if header.format != EXPORT_FORMAT => {
                Err(ReadError::UnknownFormat(header.format))
            }
            Some(Line::Header(header)) if header.from.0 == 0 || header.to < header.from => {
                let range = format!("it claims to hold positions {} to {}", header.from, header.to);
                Err(ReadError::NotAnExport(range))
            }
            Some(Line::Header(header)) => Ok((header, reader)),
            Some(Line::Unreadable(detail)) => Err(ReadError::NotAnExport(detail)),
            Some(_) => Err(ReadError::NotAnExport("its first line is no header".to_owned())),
            None => Err(ReadError::NotAnExport("it is empty".to_owned())),
        }
    }

    /// The next line, or nothing at the end of the file.
    ///
    /// # Errors
    /// When the file refuses.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        self.line.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = self
            .input
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut self.line)?;
        self.bytes += read as u64;
        if read == 0 {
            return Ok(None);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.len() > MAX_LINE_BYTES {
            self.skip_line()?;
            let detail = format!("a line is longer than {MAX_LINE_BYTES} bytes");
            return Ok(Some(Line::Unreadable(detail)));
        }
        let line = serde_json::from_slice(&self.line);
        Ok(Some(
            line.unwrap_or_else(|error| Line::Unreadable(error.to_string())),
        ))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let available = self.input.fill_buf()?;
            let (used, ended) = match available.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (available.len(), available.is_empty()),
            };
            self.input.consume(used);
            self.bytes += used as u64;
            if ended {
                return Ok(());
            }
        }
    }

    /// How many bytes were read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes
    }
}
