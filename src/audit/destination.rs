//! Where an export goes: to a file, which has its name only once it is whole, or to stdout, whose reader learns by the
//! trailer that it is.

use std::fs::File;
use std::io::{self, Stdout, Write};
use std::path::{Path, PathBuf};

use super::error::AuditError;

/// How stdout is called in place of a file.
const STDOUT: &str = "-";

/// Somewhere to write an export.
pub(super) enum Destination {
    /// A draft beside the file.
    File {
        draft: PathBuf,
        file: File,
        path: PathBuf,
        whole: bool,
    },
    Stdout(Stdout),
}

impl Destination {
    /// Begins to write; one that is there already is replaced in the end, if that was asked for.
    pub fn open(path: &Path, replace: bool) -> Result<Self, AuditError> {
        if path == Path::new(STDOUT) {
            return Ok(Self::Stdout(io::stdout()));
        }
        if !replace && path.exists() {
            return Err(AuditError::Exists(path.to_owned()));
        }
        let draft = draft_beside(path);
        let file = File::create(&draft).map_err(AuditError::file(&draft))?;
        Ok(Self::File {
            draft,
            file,
            path: path.to_owned(),
            whole: false,
        })
    }

    /// All of it is written.
    pub fn complete(mut self) -> Result<(), AuditError> {
        match &mut self {
            Self::Stdout(stdout) => stdout.flush().map_err(AuditError::file(Path::new("stdout"))),
            Self::File {
                draft,
                file,
                path,
                whole,
            } => {
                file.sync_all().map_err(AuditError::file(draft))?;
                std::fs::rename(&*draft, &*path).map_err(AuditError::file(path))?;
                *whole = true;
                Ok(())
            }
        }
    }

    /// What an error calls it.
    pub fn name(path: &Path) -> &Path {
        if path == Path::new(STDOUT) {
            Path::new("stdout")
        } else {
            path
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File { file, .. } => file.write(bytes),
            Self::Stdout(stdout) => stdout.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File { file, .. } => file.flush(),
            Self::Stdout(stdout) => stdout.flush(),
        }
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if let Self::File {
            draft, whole: false, ..
        } = self
        {
            // The draft is worth nothing; that it cannot be removed is less important than why.
            let _ = std::fs::remove_file(draft);
        }
    }
}

fn draft_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}
