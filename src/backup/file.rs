//! The files of a backup: readable by their owner alone, hashed while they are written, synced when they are whole.

use std::io;
use std::path::Path;

use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};

use super::error::BackupError;
use super::manifest::FileEntry;

/// Bytes per write and read.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// A file being written.
pub(super) struct Written {
    name: String,
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Written {
    /// Makes a file that is not there yet, mode 0600.
    pub async fn create(directory: &Path, name: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(directory.join(name)).await?;
        Ok(Self {
            name: name.to_owned(),
            file: BufWriter::with_capacity(CHUNK_BYTES, file),
            hasher: blake3::Hasher::new(),
            bytes: 0,
        })
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).await
    }

    /// On disk, and described.
    pub async fn finish(mut self, rows: Option<u64>) -> io::Result<FileEntry> {
        self.file.flush().await?;
        self.file.get_ref().sync_all().await?;
        Ok(FileEntry {
            name: self.name,
            bytes: self.bytes,
            rows,
            blake3: self.hasher.finalize().to_hex().to_string(),
        })
    }
}

/// A small file, whole.
pub(super) async fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<FileEntry> {
    let mut file = Written::create(directory, name).await?;
    file.write(bytes).await?;
    file.finish(None).await
}

/// The bytes of a file, piece by piece; `took` is told of each.
pub(super) async fn read(
    directory: &Path,
    entry: &FileEntry,
    mut took: impl AsyncFnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let path = directory.join(&entry.name);
    let io = BackupError::io(&path);
    let mut file = File::open(&path).await.map_err(&io)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    loop {
        let read = file.read(&mut buffer).await.map_err(&io)?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        hasher.update(&buffer[..read]);
        took(&buffer[..read]).await?;
    }
    if bytes == entry.bytes && hasher.finalize().to_hex().as_str() == entry.blake3 {
        return Ok(());
    }
    Err(BackupError::Altered(path))
}
