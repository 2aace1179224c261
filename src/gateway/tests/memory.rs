//! Log and directory in memory, each of which can be away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use counterfoil_events::agent::key::{KeyPepper, PresentedKey};
use counterfoil_events::command::CommandContext;
use counterfoil_events::completion::{Authorization, Denial, Failure, Settlement};
use counterfoil_events::envelope::Receipt;
use counterfoil_events::ids::*;
use counterfoil_events::signature::Signature;
use futures::future::{BoxFuture, FutureExt as _};

use crate::gateway::directory::*;
use crate::gateway::log::*;

#[derive(Debug, Clone)]
pub enum Record {
    Authorized(Authorization),
    Denied(Denial),
    Settled(Settlement),
    Failed(Failure),
}

/// Fingerprint, completion and position of the first call under a key.
type Claimed = ([u8; 32], CompletionId, Position);

/// A log in memory that can be away.
#[derive(Default)]
pub struct MemoryLog {
    pub records: Mutex<Vec<(CompletionId, Record)>>,
    keys: Mutex<HashMap<[u8; 32], Claimed>>,
    pub authorising_fails: AtomicBool,
    pub ending_fails: AtomicBool,
    /// What fails leaves it open whether it was taken.
    pub outcome_is_unknown: AtomicBool,
}

impl MemoryLog {
    fn append(&self, context: &CommandContext, id: CompletionId, record: Record) -> Receipt {
        let mut records = self.records.lock().unwrap();
        records.push((id, record));
        Receipt {
            tenant: context.tenant,
            position: Position(records.len() as u64),
            event_id: EventId::generate(),
            hash: EventHash::ZERO,
            key_id: KeyId([0; 8]),
            signature: Signature([0; 64]),
        }
    }

    fn end(&self, context: &CommandContext, id: CompletionId, record: Record) -> Result<Receipt, LogError> {
        if self.ending_fails.load(Ordering::SeqCst) {
            return Err(self.switched_off());
        }
        Ok(self.append(context, id, record))
    }

    fn switched_off(&self) -> LogError {
        match self.outcome_is_unknown.load(Ordering::SeqCst) {
            true => LogError::OutcomeUnknown("switched off".into()),
            false => LogError::Unavailable("switched off".into()),
        }
    }

    fn claim(&self, context: &CommandContext, id: CompletionId) -> Result<(), AuthoriseError> {
        self.earlier(context)?;
        if let Some(claim) = context.idempotency {
            let position = Position(self.records.lock().unwrap().len() as u64 + 1);
            let mut keys = self.keys.lock().unwrap();
            keys.insert(claim.key_hash, (claim.fingerprint, id, position));
        }
        Ok(())
    }

    fn earlier(&self, context: &CommandContext) -> Result<(), AuthoriseError> {
        let Some(claim) = context.idempotency else {
            return Ok(());
        };
        let found = self.keys.lock().unwrap().get(&claim.key_hash).copied();
        let Some((fingerprint, first, position)) = found else {
            return Ok(());
        };
        if fingerprint != claim.fingerprint {
            return Err(AuthoriseError::KeyReused);
        }
        let records = self.records.lock().unwrap();
        let ended = records.iter().filter(|(id, _)| *id == first).count() > 1;
        Err(AuthoriseError::KeySeen { position, ended })
    }

    pub fn names(&self) -> Vec<&'static str> {
        let name = |record: &Record| match record {
            Record::Authorized(_) => "authorized",
            Record::Denied(_) => "denied",
            Record::Settled(_) => "settled",
            Record::Failed(_) => "failed",
        };
        self.records
            .lock()
            .unwrap()
            .iter()
            .map(|(_, record)| name(record))
            .collect()
    }

    pub fn last(&self) -> Record {
        self.records.lock().unwrap().last().expect("no record").1.clone()
    }
}

impl CompletionLog for MemoryLog {
    fn seen<'a>(&'a self, context: &'a CommandContext) -> BoxFuture<'a, Result<(), AuthoriseError>> {
        async move { self.earlier(context) }.boxed()
    }

    fn authorise<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Authorization,
    ) -> BoxFuture<'a, Result<Receipt, AuthoriseError>> {
        async move {
            if self.authorising_fails.load(Ordering::SeqCst) {
                return Err(self.switched_off().into());
            }
            self.claim(context, id)?;
            Ok(self.append(context, id, Record::Authorized(record)))
        }
        .boxed()
    }

    fn deny<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Denial,
    ) -> BoxFuture<'a, Result<Receipt, LogError>> {
        async move { self.end(context, id, Record::Denied(record)) }.boxed()
    }

    fn settle<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Settlement,
    ) -> BoxFuture<'a, Result<Receipt, LogError>> {
        async move { self.end(context, id, Record::Settled(record)) }.boxed()
    }

    fn fail<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Failure,
    ) -> BoxFuture<'a, Result<Receipt, LogError>> {
        async move { self.end(context, id, Record::Failed(record)) }.boxed()
    }
}

/// One key, whose standing can be changed.
pub struct MemoryDirectory {
    pub pepper: KeyPepper,
    pub hash: ApiKeyHash,
    pub identity: Mutex<Option<AgentIdentity>>,
    pub stale: AtomicBool,
}

impl KeyDirectory for MemoryDirectory {
    fn find(&self, key: &PresentedKey) -> Result<Option<Arc<AgentIdentity>>, DirectoryStale> {
        if self.stale.load(Ordering::SeqCst) {
            return Err(DirectoryStale::Old { age_ms: 6_000 });
        }
        let known = key.hash(&self.pepper).matches(&self.hash);
        Ok(self
            .identity
            .lock()
            .unwrap()
            .clone()
            .filter(|_| known)
            .map(Arc::new))
    }
}
