//! Executing a command: load → clone → decide → append, and again when the aggregate moved in between.
//!
//! A cached state is safe to write on, since the append compares the sequence; a refusal is decided on a fresh one.
//! `handle` may change what it is given even when it fails, so the cached aggregate is cloned first. A command that
//! is rejected under an Idempotency-Key may be the second arrival of one that was carried out: the key is then looked
//! up, and the first receipt answered. (The append looks it up in any case, so the happy path pays nothing for it.)

use std::sync::Arc;

use cqrs_es::DomainEvent;
use cqrs_es::event_sink::EventSink;

use crate::actor::Actor;
use crate::command::cache::Cache;
use crate::command::load::{LoadError, Loaded, StateShape, load};
use crate::document::Document;
use crate::envelope::Receipt;
use crate::ids::{EventId, Sequence, TenantId};
use crate::ledger::{
    AggregateAppend, AppendError, AppendRequest, Appended, IdempotencyClaim, KeyLookup, NewEvent, NewHead,
    Sequencer,
};
use crate::schema::{EncodeError, EventSourced, encode};

/// How often a command is decided again because its aggregate moved: enough for a crowd on one aggregate.
pub const MAX_ATTEMPTS: u32 = 8;

/// Who asks, on whose behalf, and under which request.
#[derive(Debug, Clone)]
pub struct CommandContext {
    /// Whose log the events go to.
    pub tenant: TenantId,
    /// Who asks.
    pub actor: Actor,
    /// Our id of the request.
    pub request_id: String,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The event that led to this command, where a consumer issues it.
    pub causation: Option<EventId>,
    /// The Idempotency-Key it came under.
    pub idempotency: Option<IdempotencyClaim>,
}

/// Which aggregate a command is for.
#[derive(Debug, Clone)]
pub enum Target {
    /// One that does not exist yet, under an id just made: nothing is read.
    New(String),
    /// One that may exist.
    Existing(String),
}

impl Target {
    fn id(&self) -> &str {
        match self {
            Self::New(id) | Self::Existing(id) => id,
        }
    }
}

/// What goes into the same commit as a command's events.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    /// Documents that the events refer to.
    pub documents: Vec<Document>,
    /// Tenants that are created (platform log only).
    pub new_heads: Vec<NewHead>,
    /// Events of other aggregates, decided by [`CommandHandler::decide`].
    pub parts: Vec<AggregateAppend>,
}

/// A command that was carried out.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The aggregate; on a replay the first request's.
    pub aggregate_id: String,
    /// One per event.
    pub receipts: Vec<Receipt>,
    /// True when an earlier request with the same Idempotency-Key was.
    pub replayed: bool,
}

/// A command that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError<E: std::error::Error> {
    /// The aggregate's rules refuse it.
    #[error(transparent)]
    Rejected(E),
    /// The log did not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The aggregate could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its event cannot be written: a defect of the schema.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// A decision that is not yet written.
#[derive(Debug)]
pub struct Decided<A> {
    /// For [`AppendRequest::parts`] or [`Extras::parts`].
    pub append: AggregateAppend,
    /// The state after it.
    pub after: Loaded<A>,
}

/// Executes the commands of one kind of aggregate.
pub struct CommandHandler<A> {
    sequencer: Sequencer,
    cache: Cache<A>,
    shape: StateShape,
}

impl<A: EventSourced> CommandHandler<A>
where
    A::Command: Clone + Send,
{
    /// On a sequencer.
    #[must_use]
    pub fn new(sequencer: Sequencer) -> Self {
        Self {
            sequencer,
            cache: Cache::new(),
            shape: StateShape::of::<A>(),
        }
    }

    /// Carries out a command; returns once its events are durable.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn execute(
        &self,
        context: &CommandContext,
        target: Target,
        command: A::Command,
        extras: Extras,
    ) -> Result<Executed, CommandError<A::Error>> {
        let mut attempt = 1;
        loop {
            let decided = match self.decide(context.tenant, &target, command.clone()).await {
                Err(CommandError::Rejected(error)) => return self.rejected(context, error).await,
                other => other?,
            };
            if decided.append.events.is_empty() {
                let aggregate_id = target.id().to_owned();
                return Ok(Executed {
                    aggregate_id,
                    receipts: Vec::new(),
                    replayed: false,
                });
            }
            match self.commit(context, target.clone(), decided, &extras).await {
                Err(CommandError::Append(AppendError::Conflict { .. })) if attempt < MAX_ATTEMPTS => {
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// Writes a decision, once: for whoever decides several aggregates for one commit, and decides all of them again
    /// when one has moved.
    ///
    /// # Errors
    /// See [`CommandError`]; [`AppendError::Conflict`] when this aggregate, or one of the extras', moved in between.
    pub async fn commit(
        &self,
        context: &CommandContext,
        target: Target,
        decided: Decided<A>,
        extras: &Extras,
    ) -> Result<Executed, CommandError<A::Error>> {
        match self.append(context, decided.append, extras).await {
            Ok(appended) if appended.replayed => self.replayed(context.tenant, appended.receipts).await,
            Ok(appended) => {
                self.cache.put(context.tenant, target.id(), decided.after);
                Ok(executed(target, appended))
            }
            Err(error) => {
                self.cache.drop_entry(context.tenant, target.id());
                Err(error.into())
            }
        }
    }

    /// Loads, clones and decides, without writing. What comes to events is decided on the cached state, if there is one,
    /// since the append compares; a refusal never is.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn decide(
        &self,
        tenant: TenantId,
        target: &Target,
        command: A::Command,
    ) -> Result<Decided<A>, CommandError<A::Error>> {
        let Target::Existing(id) = target else {
            let nothing = Loaded {
                state: A::default(),
                sequence: Sequence::ZERO,
            };
            return decide_on(&nothing, target, command).await;
        };
        if let Some(cached) = self.cache.get(tenant, id) {
            match decide_on(&cached, target, command.clone()).await {
                // Nothing to append, so nothing would be compared: what another process has written since may decide
                // otherwise.
                Err(CommandError::Rejected(_)) => {}
                Ok(decided) if decided.append.events.is_empty() => {}
                other => return other,
            }
        }
        let fresh = self.load_fresh(tenant, id).await?;
        decide_on(&fresh, target, command).await
    }

    /// The aggregate as it stands: from the cache, or from the log.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load(&self, tenant: TenantId, id: &str) -> Result<Arc<Loaded<A>>, LoadError> {
        match self.cache.get(tenant, id) {
            Some(cached) => Ok(cached),
            None => self.load_fresh(tenant, id).await,
        }
    }

    /// The aggregate as the log has it now. For reading what another process may have changed: a cached state is only
    /// safe to append on, since the append compares.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load_fresh(&self, tenant: TenantId, id: &str) -> Result<Arc<Loaded<A>>, LoadError> {
        let loaded = load(
            self.sequencer.reader(),
            self.sequencer.database().log(),
            self.shape,
            tenant,
            id,
        )
        .await?;
        Ok(self.cache.put(tenant, id, loaded))
    }

    async fn append(
        &self,
        context: &CommandContext,
        part: AggregateAppend,
        extras: &Extras,
    ) -> Result<Appended, AppendError> {
        let parts = std::iter::once(part)
            .chain(extras.parts.iter().cloned())
            .collect();
        self.sequencer
            .append(AppendRequest {
                tenant: context.tenant,
                actor: context.actor.clone(),
                request_id: context.request_id.clone(),
                traceparent: context.traceparent.clone(),
                causation: context.causation,
                parts,
                documents: extras.documents.clone(),
                idempotency: context.idempotency,
                new_heads: extras.new_heads.clone(),
            })
            .await
    }

    /// A rejected command whose key was used is the second arrival of one that was carried out.
    async fn rejected(
        &self,
        context: &CommandContext,
        error: A::Error,
    ) -> Result<Executed, CommandError<A::Error>> {
        let earlier = self.earlier(context).await?;
        earlier.ok_or(CommandError::Rejected(error))
    }

    /// What was done under the context's Idempotency-Key before; `None` for a key that is free, or where there is none.
    ///
    /// # Errors
    /// [`AppendError::KeyReused`] when another request was carried out under it, or that the log cannot be read.
    pub async fn earlier(
        &self,
        context: &CommandContext,
    ) -> Result<Option<Executed>, CommandError<A::Error>> {
        let Some(claim) = &context.idempotency else {
            return Ok(None);
        };
        match self.sequencer.lookup_key(context.tenant, claim).await? {
            KeyLookup::Free => Ok(None),
            KeyLookup::OtherBody => Err(AppendError::KeyReused.into()),
            KeyLookup::Done(receipts) => self.replayed(context.tenant, receipts).await.map(Some),
        }
    }

    /// The first request's answer: its receipts, and the aggregate that they belong to.
    async fn replayed(
        &self,
        tenant: TenantId,
        receipts: Vec<Receipt>,
    ) -> Result<Executed, CommandError<A::Error>> {
        let unread = || AppendError::ReceiptsUnread(tenant);
        let first = receipts.first().ok_or_else(unread)?;
        let before = crate::ids::Position(first.position.0.saturating_sub(1));
        let events = self
            .sequencer
            .reader()
            .page(tenant, before, first.position, 1)
            .await
            .map_err(|error| {
                tracing::warn!(%tenant, %error, "the first event of an earlier request cannot be read");
                unread()
            })?;
        let event = events.into_iter().next().ok_or_else(unread)?;
        let aggregate_id = event.aggregate_id;
        Ok(Executed {
            aggregate_id,
            receipts,
            replayed: true,
        })
    }
}

/// Clones the state and decides.
async fn decide_on<A: EventSourced>(
    before: &Loaded<A>,
    target: &Target,
    command: A::Command,
) -> Result<Decided<A>, CommandError<A::Error>> {
    let mut state = before.state.clone();
    let sink = EventSink::default();
    state
        .handle(command, &(), &sink)
        .await
        .map_err(CommandError::Rejected)?;
    let events = sink.collect().await;
    let sequence = Sequence(before.sequence.0 + events.len() as u64);
    let events = events.iter().map(new_event).collect::<Result<Vec<_>, _>>()?;
    let append = AggregateAppend {
        aggregate: A::TYPE.into(),
        aggregate_id: target.id().to_owned(),
        expected: before.sequence,
        events,
    };
    Ok(Decided {
        append,
        after: Loaded { state, sequence },
    })
}

fn executed(target: Target, appended: Appended) -> Executed {
    let (Target::New(aggregate_id) | Target::Existing(aggregate_id)) = target;
    Executed {
        aggregate_id,
        receipts: appended.receipts,
        replayed: false,
    }
}

/// An aggregate's event, ready to be placed.
///
/// # Errors
/// When it does not serialise as a JSON object.
pub(super) fn new_event<E: DomainEvent>(event: &E) -> Result<NewEvent, EncodeError> {
    Ok(NewEvent {
        event_type: event.event_type().into(),
        version: event.event_version().into(),
        payload: encode(event)?,
    })
}
