//! Step 3: the platform's head and its first signing key.
//!
//! The first event of the platform's log introduces the key that signs it. An auditor is given that key's
//! fingerprint, and from it every later key, tenant and event can be verified.

use counterfoil_events::actor::Actor;
use counterfoil_events::command::{
    CommandContext, CommandError, CommandHandler, Extras, LoadError, Target, decode_stored,
};
use counterfoil_events::ids::{Fingerprint, KeyId, Sequence, TenantId};
use counterfoil_events::keyring::{AGGREGATE_ID, KeyringCommand, KeyringError, KeyringEvent, SigningKeys};
use counterfoil_events::ledger::{AppendError, LogReader, Sequencer};
use counterfoil_events::signature::PublicKey;
use cqrs_es::Aggregate;

/// The platform's log could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// Postgres refused or did not answer.
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    /// The first event could not be appended.
    #[error("introducing the first signing key: {0}")]
    Command(#[from] CommandError<KeyringError>),
    /// The keyring could not be read.
    #[error("reading the keyring: {0}")]
    Load(#[from] LoadError),
    /// The key at hand is not one that the log knows.
    #[error(
        "the signing key at hand ({0}) is not in the log's keyring: it belongs to another installation. \
         Start with the key that this database was made with, or restore both from one backup"
    )]
    ForeignKey(Fingerprint),
    /// The key at hand signed once, and was followed by another.
    #[error(
        "the signing key at hand ({ours}) was followed by {newest} in a rotation: put that key's file in the place of \
         signing.key_file"
    )]
    Superseded {
        /// What is at hand.
        ours: KeyId,
        /// What signs now.
        newest: KeyId,
    },
}

/// Begins the platform's log, or finds it begun; answers the first key's fingerprint, for the auditor.
///
/// # Errors
/// When the log cannot be written, or was begun with another key.
pub async fn introduce_first_key(sequencer: &Sequencer) -> Result<Fingerprint, GenesisError> {
    sqlx::query("SELECT counterfoil.create_platform_head()")
        .execute(sequencer.database().log())
        .await?;
    let ours = sequencer.key().get().public_key();
    let mut keys = introduced(sequencer.reader()).await?;
    if keys.is_empty() {
        introduce(sequencer, ours).await?;
        keys = introduced(sequencer.reader()).await?;
    }
    let known = keys.iter().any(|(id, _)| *id == ours.id());
    let (Some((_, first)), Some((newest, _)), true) = (keys.first(), keys.last(), known) else {
        return Err(GenesisError::ForeignKey(ours.fingerprint()));
    };
    // A rotation that was cut off has left the newest key beside ours.
    if sequencer.key().change_to(*newest).await {
        return Ok(*first);
    }
    Err(GenesisError::Superseded {
        ours: ours.id(),
        newest: *newest,
    })
}

async fn introduce(sequencer: &Sequencer, public_key: PublicKey) -> Result<(), GenesisError> {
    let context = CommandContext {
        tenant: TenantId::PLATFORM,
        actor: Actor::system("init"),
        request_id: uuid::Uuid::now_v7().to_string(),
        traceparent: None,
        causation: None,
        idempotency: None,
    };
    let command = KeyringCommand::Introduce { public_key };
    let target = Target::New(AGGREGATE_ID.to_owned());
    let keyring = CommandHandler::<SigningKeys>::new(sequencer.clone());
    match keyring
        .execute(&context, target, command, Extras::default())
        .await
    {
        // Another process was quicker; the caller sees whether it had the same key.
        Ok(_) | Err(CommandError::Append(AppendError::Conflict { .. })) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the platform's log has a signing key.
pub(super) async fn is_begun(reader: &LogReader) -> Result<bool, GenesisError> {
    Ok(!introduced(reader).await?.is_empty())
}

/// Every key that the log introduces, oldest first.
async fn introduced(reader: &LogReader) -> Result<Vec<(KeyId, Fingerprint)>, GenesisError> {
    let events = reader
        .aggregate(
            TenantId::PLATFORM,
            SigningKeys::TYPE,
            AGGREGATE_ID,
            Sequence::ZERO,
        )
        .await?;
    let key = |event| {
        let KeyringEvent::SigningKeyIntroduced {
            key_id, fingerprint, ..
        } = decode_stored::<SigningKeys>(event)?;
        Ok((key_id, fingerprint))
    };
    events.iter().map(key).collect()
}
