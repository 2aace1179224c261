//! The frames between client and key process: a length in four bytes, then that many bytes.
//!
//! A question is an operation (one byte) and its fields; an answer is a status (one byte) and its fields; a field is a
//! length in two bytes, then its bytes. Frames are read into memory that is wiped, since they hold keys.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::vault::kms::{AAD_BYTES_MAX, WRAPPED_BYTES_MAX};

/// Most bytes of a frame: the largest fields and their lengths.
pub const FRAME_BYTES_MAX: usize = AAD_BYTES_MAX + WRAPPED_BYTES_MAX + 64;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Fields: the key, the AAD. Answer: the KEK's version, the wrapped key.
    Wrap = 1,
    /// Fields: the KEK's version, the wrapped key, the AAD. Answer: the key.
    Unwrap = 2,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done; the fields follow.
    Done = 0,
    /// Refused; a text follows.
    Refused = 1,
}

impl Operation {
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Wrap, Self::Unwrap]
            .into_iter()
            .find(|operation| *operation as u8 == byte)
    }
}

impl Status {
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Done, Self::Refused]
            .into_iter()
            .find(|status| *status as u8 == byte)
    }
}

/// A frame's bytes, wiped when dropped.
pub type Frame = Zeroizing<Vec<u8>>;

/// Writes a frame's bytes: what it is, then its fields.
pub fn frame(kind: u8, fields: &[&[u8]]) -> std::io::Result<Frame> {
    let length = 1 + fields.iter().map(|field| field.len() + 2).sum::<usize>();
    if length > FRAME_BYTES_MAX {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    // Never grown: what it held would stay behind.
    let mut frame = Zeroizing::new(Vec::with_capacity(length));
    frame.push(kind);
    for field in fields {
        let length = u16::try_from(field.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(field);
    }
    Ok(frame)
}

/// What a frame is, and its fields; `None` for bytes that are no frame of exactly `N` fields.
pub fn fields<const N: usize>(frame: &[u8]) -> Option<(u8, [&[u8]; N])> {
    let (kind, mut rest) = frame.split_first()?;
    let mut fields = [&[][..]; N];
    for field in &mut fields {
        let (length, after) = rest.split_first_chunk::<2>()?;
        (*field, rest) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    }
    rest.is_empty().then_some((*kind, fields))
}

pub async fn send<S: AsyncWrite + Unpin>(stream: &mut S, frame: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(frame).await?;
    stream.flush().await
}

pub async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<Frame> {
    let length = stream.read_u32().await? as usize;
    if !(1..=FRAME_BYTES_MAX).contains(&length) {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut frame = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_come_back_as_they_were(
            kind in any::<u8>(), one in prop::collection::vec(any::<u8>(), 0..40), other in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let bytes = frame(kind, &[&one, &other]).unwrap();
            prop_assert_eq!(fields(&bytes), Some((kind, [one.as_slice(), other.as_slice()])));
            prop_assert_eq!(fields::<1>(&bytes), None);
            prop_assert_eq!(fields::<3>(&bytes), None);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = fields::<2>(&bytes);
            let _ = fields::<3>(&bytes);
        }
    }

    #[tokio::test]
    async fn a_frame_that_says_it_is_huge_is_not_waited_for() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0xff, 1];
        let error = receive(&mut bytes).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    }
}
