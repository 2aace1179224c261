//! Aggregates as they were after their last committed event, so that a busy one is not read again for each command.
//!
//! A stale entry is safe to append on: the append compares the sequence it was decided on. A conflict drops the entry,
//! and what would be refused on it is decided again on a fresh one.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::command::load::Loaded;
use crate::ids::TenantId;

/// Aggregates kept per kind: at a few kilobytes each, some tens of megabytes at the most.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

type Entries<A> = LruCache<(TenantId, String), Arc<Loaded<A>>>;

pub(super) struct Cache<A> {
    entries: Mutex<Entries<A>>,
}

impl<A> Cache<A> {
    pub(super) fn new() -> Self {
        Self {
            entries: Mutex::new(LruCache::new(CAPACITY)),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries<A>> {
        // Each operation leaves the map whole, so a panic in another holder does no harm.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, tenant: TenantId, id: &str) -> Option<Arc<Loaded<A>>> {
        self.entries().get(&(tenant, id.to_owned())).cloned()
    }

    pub(super) fn put(&self, tenant: TenantId, id: &str, loaded: Loaded<A>) -> Arc<Loaded<A>> {
        let loaded = Arc::new(loaded);
        self.entries().put((tenant, id.to_owned()), Arc::clone(&loaded));
        loaded
    }

    pub(super) fn drop_entry(&self, tenant: TenantId, id: &str) {
        self.entries().pop(&(tenant, id.to_owned()));
    }
}
