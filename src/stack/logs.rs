//! Log files of the servers: appended to, rotated at a start when they have grown, quoted when a start fails.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::StackError;

/// At a start, a log above this is set aside, and the one set aside before it goes: two of these per server at most,
/// plus what one run writes.
const ROTATE_BYTES: u64 = 8 * 1024 * 1024;
/// A screenful: enough for the reason of a failed start.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 16 * 1024;

/// A log opened for one run of a server.
#[derive(Debug)]
pub(super) struct RunLog {
    pub file: File,
    /// Where this run begins in it.
    pub begins: u64,
}

/// Opens the log at `path` for appending, rotating it first if it has grown.
pub(super) fn open(path: &Path) -> Result<RunLog, StackError> {
    let open = || -> io::Result<RunLog> {
        if path
            .metadata()
            .is_ok_and(|metadata| metadata.len() > ROTATE_BYTES)
        {
            fs::rename(path, path.with_extension("log.1"))?;
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let begins = file.metadata()?.len();
        Ok(RunLog { file, begins })
    };
    open().map_err(StackError::io("open the log", path))
}

/// The last lines that were written since `begins`, for an error message.
pub(super) fn tail(path: &Path, begins: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(begins.max(length.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(last_lines(&String::from_utf8_lossy(&bytes)))
    };
    read().unwrap_or_else(|e| format!("(the log cannot be read: {e})"))
}

/// The last lines of a text, indented, for an error message.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return "  (nothing was written)".to_owned();
    }
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines[from..]
        .iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn the_tail_is_of_this_run_only() {
        let scratch = Scratch::new();
        let path = scratch.path().join("server.log");
        fs::write(&path, "an earlier run\n").unwrap();
        let mut run = open(&path).unwrap();
        assert_eq!(tail(&path, run.begins), "  (nothing was written)");
        for line in 0..30 {
            writeln!(run.file, "line {line}").unwrap();
        }
        let tail = tail(&path, run.begins);
        assert!(
            tail.starts_with("  line 10\n") && tail.ends_with("  line 29"),
            "{tail}"
        );
    }

    #[test]
    fn a_grown_log_is_set_aside_at_the_next_start() {
        let scratch = Scratch::new();
        let path = scratch.path().join("server.log");
        File::create(&path).unwrap().set_len(ROTATE_BYTES + 1).unwrap();
        assert_eq!(open(&path).unwrap().begins, 0);
        assert_eq!(
            scratch.path().join("server.log.1").metadata().unwrap().len(),
            ROTATE_BYTES + 1
        );
    }
}
