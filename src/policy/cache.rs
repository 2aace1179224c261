//! Compiled policies by the digest of their text: one cache for all threads, since a compiled policy takes some hundred
//! kilobytes and is never changed.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use counterfoil_events::ids::DocumentDigest;
use lru::LruCache;

use super::compile::{CompiledPolicy, compile_here};

/// The most recently used policies. A text that does not compile is remembered, too.
#[derive(Clone)]
pub(super) struct PolicyCache(Arc<Mutex<LruCache<DocumentDigest, Option<Arc<CompiledPolicy>>>>>);

impl PolicyCache {
    pub(super) fn new(policies_max: NonZeroUsize) -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(policies_max))))
    }

    /// The compiled policy, compiled now if need be; nothing if its text does not compile.
    pub(super) fn get(&self, digest: DocumentDigest, source: &str) -> Option<Arc<CompiledPolicy>> {
        if let Some(known) = self.lock().get(&digest) {
            return known.clone();
        }
        // Outside of the lock: the others go on. Two threads may compile one text, once.
        let compiled = catch_unwind(AssertUnwindSafe(|| compile_here(source)));
        let policy = compiled.ok().and_then(Result::ok).map(Arc::new);
        if policy.is_none() {
            tracing::error!(policy = %digest, "an active policy does not compile; it denies everything");
        }
        self.lock().put(digest, policy.clone());
        policy
    }

    /// Forgets a policy, so that it is compiled anew.
    pub(super) fn forget(&self, digest: DocumentDigest) {
        self.lock().pop(&digest);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<DocumentDigest, Option<Arc<CompiledPolicy>>>> {
        // Nothing runs under the lock but the cache's own operations.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use counterfoil_events::document;

    use super::*;

    fn get(cache: &PolicyCache, source: &str) -> Option<Arc<CompiledPolicy>> {
        cache.get(document::digest(source.as_bytes()), source)
    }

    #[test]
    fn a_policy_is_compiled_once_and_the_least_used_is_dropped_at_the_limit() {
        let cache = PolicyCache::new(NonZeroUsize::new(2).unwrap());
        let source = |n: u32| format!("package counterfoil\ndecision := {{\"allow\": {n} == 1}}");
        let first = get(&cache, &source(1)).unwrap();
        get(&cache, &source(2)).unwrap();
        assert!(Arc::ptr_eq(&first, &get(&cache, &source(1)).unwrap()));
        get(&cache, &source(3)).unwrap();
        assert!(Arc::ptr_eq(&first, &get(&cache, &source(1)).unwrap()));
        assert_eq!(cache.lock().len(), 2);
        cache.forget(first.digest());
        assert!(!Arc::ptr_eq(&first, &get(&cache, &source(1)).unwrap()));
    }

    #[test]
    fn a_text_that_does_not_compile_is_remembered() {
        let cache = PolicyCache::new(NonZeroUsize::MIN);
        assert!(get(&cache, "no Rego").is_none());
        assert_eq!(cache.lock().len(), 1);
        assert!(get(&cache, "no Rego").is_none());
    }
}
