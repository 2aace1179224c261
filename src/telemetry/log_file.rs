//! A log file that stays small: when it has grown it is set aside, and the one set aside before it goes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Two files of this size at most: enough for days of ordinary use, and nobody has to clear it away.
const ROTATE_BYTES: u64 = 8 << 20;

/// A file that is appended to, readable by its owner only.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens it, and makes its directory if needed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let (path, bytes) = (path.to_owned(), file.metadata()?.len());
        Ok(Self { path, file, bytes })
    }

    fn rotate(&mut self) -> io::Result<()> {
        fs::rename(&self.path, self.path.with_extension("log.1"))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

/// Lines come whole, one a call.
impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.bytes > ROTATE_BYTES {
            self.rotate()?;
        }
        let written = self.file.write(line)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_grown_log_is_set_aside_while_it_is_written() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("logs/counterfoil.log");
        let mut log = LogFile::open(&path).unwrap();
        log.write_all(&vec![b'x'; ROTATE_BYTES as usize + 1]).unwrap();
        log.write_all(b"the next line\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"the next line\n");
        let aside = path.with_extension("log.1").metadata().unwrap().len();
        assert_eq!(aside, ROTATE_BYTES + 1);
    }
}
