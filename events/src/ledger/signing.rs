//! The key that this process signs with, and how it takes the next one.
//!
//! A rotation is an event in the platform log, made anywhere. A process that missed it is refused by the append
//! function with the name of the key that signs now, and looks for that key where keys come from ([`KeySource`]). Until
//! it finds it, it appends nothing.

use std::sync::{Arc, PoisonError, RwLock};

use futures::future::BoxFuture;

use crate::ids::KeyId;
use crate::signature::Signer;

/// Where keys come from: a file, a vault.
pub trait KeySource: Send + Sync {
    /// The key with this name, if it is at hand.
    fn find(&self, id: KeyId) -> BoxFuture<'_, Option<Arc<dyn Signer>>>;
}

/// The key that signs now. Cheap to clone; all clones change together.
#[derive(Clone)]
pub struct CurrentKey {
    now: Arc<RwLock<Arc<dyn Signer>>>,
    source: Option<Arc<dyn KeySource>>,
}

impl CurrentKey {
    /// Begins with `first` and finds later ones in `source`.
    #[must_use]
    pub fn new(first: Arc<dyn Signer>, source: Arc<dyn KeySource>) -> Self {
        Self {
            source: Some(source),
            ..Self::from(first)
        }
    }

    /// The key. Whoever signs several things as one holds on to it meanwhile.
    #[must_use]
    pub fn get(&self) -> Arc<dyn Signer> {
        // The value is replaced whole, so a panic elsewhere cannot leave it half changed.
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes to the key with this name; whether it signs now.
    pub async fn change_to(&self, id: KeyId) -> bool {
        if self.get().public_key().id() == id {
            return true;
        }
        let Some(source) = self.source.clone() else {
            return false;
        };
        match source.find(id).await {
            Some(next) if next.public_key().id() == id => {
                *self.now.write().unwrap_or_else(PoisonError::into_inner) = next;
                true
            }
            _ => false,
        }
    }
}

impl From<Arc<dyn Signer>> for CurrentKey {
    fn from(key: Arc<dyn Signer>) -> Self {
        Self {
            now: Arc::new(RwLock::new(key)),
            source: None,
        }
    }
}

impl<S: Signer + 'static> From<Arc<S>> for CurrentKey {
    fn from(key: Arc<S>) -> Self {
        Self::from(key as Arc<dyn Signer>)
    }
}
