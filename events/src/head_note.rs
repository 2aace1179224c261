//! Head notes: a signed statement of where a tenant's log ended at a moment.
//!
//! A chain alone cannot show that its tail was cut; a head note kept elsewhere can. The form is a signed note
//! (C2SP `signed-note`): text, blank line, one signature line. The key's name is `counterfoil/<key id>`, so
//! that any tool for signed notes can check one, given [`verifier_key`].

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use crate::ids::{EventHash, KeyId, Position, TenantId};
use crate::signature::{Keyring, PublicKey, Signature, Signer};
use crate::timestamp::Timestamp;

/// First line of the text; it also keeps a head note's signature from being taken for an event's.
const TITLE: &str = "counterfoil head note v1";
const NAME_PREFIX: &str = "counterfoil/";
/// C2SP's number for Ed25519.
const ED25519: u8 = 1;
/// A note of ours has about 330 bytes; others may have signed it too.
const MAX_NOTE_BYTES: usize = 16 * 1024;

/// What a head note says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Head {
    /// Whose log.
    pub tenant: TenantId,
    /// Where it ended.
    pub position: Position,
    /// The hash of the event there.
    pub hash: EventHash,
    /// When that was so.
    pub time: Timestamp,
}

impl Head {
    /// The text that is signed, with its final newline.
    #[must_use]
    pub fn text(&self) -> String {
        let Self {
            tenant,
            position,
            hash,
            time,
        } = self;
        format!("{TITLE}\n{tenant}\n{position}\n{hash}\n{time}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let head = Self {
            tenant: lines.next()?.parse().ok()?,
            position: Position(lines.next()?.parse().ok()?),
            hash: lines.next()?.parse().ok()?,
            time: lines.next()?.parse().ok()?,
        };
        // One spelling: what reads back differently (a `+5`, a missing newline, a further line) is no head note.
        (head.text() == text).then_some(head)
    }
}

/// A head with the signature of the key that vouches for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadNote {
    head: Head,
    key_id: KeyId,
    signature: Signature,
    text: String,
}

/// Why a text is no head note that can be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadNoteError {
    /// Not of the form.
    #[error("not a head note: {0}")]
    Malformed(&'static str),
    /// No signature line of a key that is known.
    #[error("the head note is signed by no known key; it names {0}")]
    UnknownKey(String),
    /// The signature does not hold.
    #[error("the signature on the head note is not that of key {0}")]
    SignatureInvalid(KeyId),
}

impl HeadNote {
    /// Signs a head.
    #[must_use]
    pub fn sign(head: Head, signer: &dyn Signer) -> Self {
        let body = head.text();
        let key = signer.public_key();
        let signature = signer.sign_message(body.as_bytes());
        let mut raw = Vec::with_capacity(68);
        raw.extend_from_slice(&key_hint(&key));
        raw.extend_from_slice(&signature.0);
        let text = format!("{body}\n— {} {}\n", key_name(key.id()), BASE64.encode(raw));
        Self {
            head,
            key_id: key.id(),
            signature,
            text,
        }
    }

    /// Reads a note and checks its signature against the keys that are known.
    ///
    /// # Errors
    /// When it is no head note, or none of the keys has signed it.
    pub fn open(text: &str, keys: &Keyring) -> Result<Self, HeadNoteError> {
        let (body, lines) = split(text)?;
        let head = Head::parse(body).ok_or(HeadNoteError::Malformed(
            "the text is not title, tenant, position, hash and time",
        ))?;
        let mut names = Vec::new();
        for line in lines.lines() {
            let (name, hint, signature) = parse_signature_line(line)?;
            let key = name
                .strip_prefix(NAME_PREFIX)
                .and_then(|id| id.parse().ok())
                .and_then(|id| keys.get(id));
            match key.filter(|key| key_hint(key) == hint) {
                Some(key) => return Self::verified(text, body, head, key, &signature),
                // A witness's or a later key's: C2SP has verifiers pass over signatures of keys unknown to them.
                None => names.push(name),
            }
        }
        Err(HeadNoteError::UnknownKey(names.join(", ")))
    }

    fn verified(
        text: &str,
        body: &str,
        head: Head,
        key: &PublicKey,
        signature: &[u8],
    ) -> Result<Self, HeadNoteError> {
        let signature = Signature::try_from(signature)
            .map_err(|_| HeadNoteError::Malformed("an Ed25519 signature has 64 bytes"))?;
        if !key.verifies_message(body.as_bytes(), &signature) {
            return Err(HeadNoteError::SignatureInvalid(key.id()));
        }
        Ok(Self {
            head,
            key_id: key.id(),
            signature,
            text: text.to_owned(),
        })
    }

    /// Which tenant a note claims to be of, believed in nothing else; to find out whom it concerns.
    #[must_use]
    pub fn tenant_of(text: &str) -> Option<TenantId> {
        text.lines().nth(1)?.parse().ok()
    }

    /// Which position a note claims to be for, believed as little.
    #[must_use]
    pub fn position_of(text: &str) -> Option<Position> {
        text.lines().nth(2)?.parse().ok().map(Position)
    }

    /// What it says.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Who signed it.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signature over [`Head::text`].
    #[must_use]
    pub fn signature(&self) -> Signature {
        self.signature
    }

    /// The whole note, as it is kept and published.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for HeadNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Text (with its final newline) and signature lines, parted at the last blank line.
fn split(note: &str) -> Result<(&str, &str), HeadNoteError> {
    if note.len() > MAX_NOTE_BYTES {
        return Err(HeadNoteError::Malformed("it is larger than 16 KiB"));
    }
    if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(HeadNoteError::Malformed("it holds control characters"));
    }
    let blank = note
        .rfind("\n\n")
        .ok_or(HeadNoteError::Malformed("it has no blank line before signatures"))?;
    let (body, lines) = (&note[..=blank], &note[blank + 2..]);
    if lines.is_empty() || !lines.ends_with('\n') {
        return Err(HeadNoteError::Malformed("it has no complete signature line"));
    }
    Ok((body, lines))
}

/// Name, key hint and signature of one line.
fn parse_signature_line(line: &str) -> Result<(String, [u8; 4], Vec<u8>), HeadNoteError> {
    let malformed = HeadNoteError::Malformed("a signature line is an em dash, a name and base64");
    let (name, encoded) = line
        .strip_prefix("— ")
        .and_then(|rest| rest.split_once(' '))
        .ok_or_else(|| malformed.clone())?;
    let raw = BASE64.decode(encoded).map_err(|_| malformed.clone())?;
    let (hint, signature) = raw.split_first_chunk::<4>().ok_or(malformed)?;
    Ok((name.to_owned(), *hint, signature.to_vec()))
}

fn key_name(id: KeyId) -> String {
    format!("{NAME_PREFIX}{id}")
}

/// C2SP's key id: `SHA-256(name ‖ "\n" ‖ 0x01 ‖ public key)[:4]`.
fn key_hint(key: &PublicKey) -> [u8; 4] {
    let mut hasher = Sha256::new();
    hasher.update(key_name(key.id()));
    hasher.update([b'\n', ED25519]);
    hasher.update(key.to_bytes());
    let digest = hasher.finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// The key as tools for signed notes take it: `name+hint+base64(type ‖ key)`.
#[must_use]
pub fn verifier_key(key: &PublicKey) -> String {
    let mut raw = vec![ED25519];
    raw.extend_from_slice(&key.to_bytes());
    format!(
        "{}+{}+{}",
        key_name(key.id()),
        hex::encode(key_hint(key)),
        BASE64.encode(raw)
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::signature::KeyPair;

    fn head() -> Head {
        Head {
            tenant: "01933b5e-0000-7000-8000-000000000001".parse().unwrap(),
            position: Position(42),
            hash: EventHash([0xab; 32]),
            time: "2026-11-20T12:00:00.000000Z".parse().unwrap(),
        }
    }

    fn ring(seeds: &[u8]) -> Keyring {
        let mut ring = Keyring::default();
        for seed in seeds {
            ring.add(KeyPair::from_seed(&[*seed; 32]).public_key()).unwrap();
        }
        ring
    }

    #[test]
    fn a_head_note_is_these_bytes_and_opens() {
        let key = KeyPair::from_seed(&[1; 32]);
        let note = HeadNote::sign(head(), &key);
        insta::assert_snapshot!(note.as_str(), @r"
        counterfoil head note v1
        01933b5e-0000-7000-8000-000000000001
        42
        abababababababababababababababababababababababababababababababab
        2026-11-20T12:00:00.000000Z

        — counterfoil/2368a3413fb9297d oN03FCS/p2oOsJa5sMAUcHbZLbx7Yj1pItwSUBrDsvWhuw1nEq7m0s5/NTFdscs3I+kZGd2e+cPnsrkhN/IfYmQFiwM=
        ");
        insta::assert_snapshot!(verifier_key(&key.public_key()), @"counterfoil/2368a3413fb9297d+a0dd3714+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c");
        assert_eq!(HeadNote::open(note.as_str(), &ring(&[2, 1])).unwrap(), note);
    }

    #[test]
    fn a_note_is_opened_by_the_key_that_is_known_among_its_signers() {
        let note = HeadNote::sign(head(), &KeyPair::from_seed(&[1; 32]));
        let other = HeadNote::sign(head(), &KeyPair::from_seed(&[2; 32]));
        let line = other.as_str().lines().last().unwrap();
        let both = format!("{note}{line}\n— witness.example AAAAAAAA\n");
        assert_eq!(
            HeadNote::open(&both, &ring(&[2])).unwrap().key_id(),
            other.key_id()
        );
        let unknown = HeadNote::open(&both, &ring(&[3])).unwrap_err();
        assert!(matches!(unknown, HeadNoteError::UnknownKey(names) if names.contains("witness.example")));
    }

    #[test]
    fn every_flipped_bit_of_a_note_is_an_error() {
        let note = HeadNote::sign(head(), &KeyPair::from_seed(&[1; 32]));
        let ring = ring(&[1]);
        for index in 0..note.as_str().len() * 8 {
            let mut bytes = note.as_str().as_bytes().to_vec();
            bytes[index / 8] ^= 1 << (index % 8);
            let altered = String::from_utf8_lossy(&bytes).into_owned();
            assert!(HeadNote::open(&altered, &ring).is_err(), "bit {index}: {altered}");
        }
    }

    #[test]
    fn a_head_has_one_spelling() {
        let text = head().text();
        assert_eq!(Head::parse(&text), Some(head()));
        for other in [
            text.replace("\n42\n", "\n+42\n"),
            text.replace("\n42\n", "\n042\n"),
            text.replace('\n', "\r\n"),
            format!("{text}more\n"),
            text.trim_end().to_owned(),
        ] {
            assert_eq!(Head::parse(&other), None, "{other:?}");
        }
    }
}
