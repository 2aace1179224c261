//! Lets another key sign from the next event on.
//!
//! 1. The successor is in a file beside the key's, sealed and synced.
//! 2. Its event is appended to the platform log, signed by the key before it. **The commit point**: from here on the
//!    append function takes the new key alone.
//! 3. The file takes the key's place. Running processes find it there, or still beside it, when they next append.
//!
//! Cut off anywhere, the same call goes on where it stopped.

use counterfoil_events::actor::Actor;
use counterfoil_events::command::{CommandContext, CommandError, CommandHandler, Extras, Target};
use counterfoil_events::ids::{Fingerprint, KeyId, Position, TenantId};
use counterfoil_events::keyring::{AGGREGATE_ID, KeyringCommand, KeyringError, SigningKeys, TrustedKeys};
use counterfoil_events::ledger::Sequencer;
use counterfoil_events::signature::{PublicKey, Signer};
use serde::Serialize;

use super::file::KeyFileError;
use super::key_file::KeyFile;

/// The key was not rotated, or that is not known.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The files.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The log.
    #[error("introducing the new key: {0}; run the same command again: it goes on where it stopped")]
    Command(#[from] CommandError<KeyringError>),
    /// The key at hand is not the one that signs.
    #[error(
        "the log is signed by {newest}, and neither {path} nor a successor beside it is that key: only the key that \
         signs can introduce the next one"
    )]
    NotOurs {
        /// The key that signs.
        newest: String,
        /// The key file.
        path: std::path::PathBuf,
    },
}

/// A key that signs from now on.
#[derive(Debug, Serialize)]
pub struct Rotated {
    /// Its short name.
    pub key_id: KeyId,
    /// Its full name.
    pub fingerprint: Fingerprint,
    /// The key before it.
    pub previous_key_id: Option<KeyId>,
    /// Where the platform log introduces it.
    pub position: Option<Position>,
}

/// Rotates. `sequencer` signs with the key in `file`; `keys` are those that the log introduces.
///
/// # Errors
/// See [`RotationError`].
pub async fn rotate(
    sequencer: &Sequencer,
    file: &KeyFile,
    keys: &TrustedKeys,
) -> Result<Rotated, RotationError> {
    let ours = file.id()?;
    if keys.newest() == Some(ours) {
        let next = file.prepare().await?.public_key();
        let position = introduce(sequencer, next).await?;
        // A process that signs may have found it, and put it in its place, already.
        file.find_key(next.id()).await?;
        return Ok(rotated(next, Some(ours), position));
    }
    // An earlier rotation was cut off between steps 2 and 3.
    let newest = match keys.newest() {
        Some(id) => file.find_key(id).await?.map(|key| key.public_key()),
        None => None,
    };
    let newest = newest.ok_or_else(|| RotationError::NotOurs {
        newest: keys
            .newest()
            .map_or_else(|| "nobody".to_owned(), |id| id.to_string()),
        path: file.path().to_owned(),
    })?;
    Ok(rotated(newest, Some(ours), keys.introduced_at(newest.id())))
}

fn rotated(key: PublicKey, previous_key_id: Option<KeyId>, position: Option<Position>) -> Rotated {
    Rotated {
        key_id: key.id(),
        fingerprint: key.fingerprint(),
        previous_key_id,
        position,
    }
}

/// Step 2.
async fn introduce(sequencer: &Sequencer, public_key: PublicKey) -> Result<Option<Position>, RotationError> {
    let context = CommandContext {
        tenant: TenantId::PLATFORM,
        actor: Actor::system("keys_rotate"),
        request_id: uuid::Uuid::now_v7().to_string(),
        traceparent: None,
        causation: None,
        idempotency: None,
    };
    let keyring = CommandHandler::<SigningKeys>::new(sequencer.clone());
    let target = Target::Existing(AGGREGATE_ID.to_owned());
    let command = KeyringCommand::Rotate { public_key };
    let done = keyring
        .execute(&context, target, command, Extras::default())
        .await?;
    Ok(done.receipts.first().map(|receipt| receipt.position))
}
