//! A KMS whose answers are noticed: what it said last, and when, for `/ready` and the metrics.
//!
//! Its health is what it did with the last real question. Where nothing was asked for a while, it is asked for nothing
//! in particular ([`super::probe`]); while it is away, at each look.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt as _};
use metrics::counter;

use super::{Kms, KmsError, Wrapped};
use crate::vault::key::Key;

/// Questions by operation and outcome.
pub const QUESTIONS: &str = "counterfoil_kms_questions_total";
/// An answer this old says nothing of now. Google takes three cents for ten thousand questions.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// What a KMS said last: `None` before it was asked.
type Answer = Option<(Instant, Result<(), KmsError>)>;

/// Watches another KMS.
pub struct WatchedKms {
    kms: Arc<dyn Kms>,
    last: Mutex<Answer>,
}

impl WatchedKms {
    /// Watches `kms`.
    #[must_use]
    pub fn new(kms: Arc<dyn Kms>) -> Self {
        let last = Mutex::default();
        Self { kms, last }
    }

    /// What went wrong with the last question; `None` when nothing did.
    #[must_use]
    pub fn trouble(&self) -> Option<KmsError> {
        let last = self.last();
        let (_, outcome) = last.as_ref()?;
        outcome.clone().err()
    }

    /// Asks, if the last answer was a bad one or is too old.
    pub async fn look(&self) {
        let known = matches!(&*self.last(), Some((when, Ok(()))) if when.elapsed() < STALE_AFTER);
        if !known {
            // Noticed as any other.
            let _ = super::probe(self).await;
        }
    }

    fn notice<T>(&self, operation: &'static str, outcome: &Result<T, KmsError>) {
        let (label, said) = match outcome {
            Ok(_) => ("done", Ok(())),
            // It was there, and said no to this one question.
            Err(KmsError::Refused(_)) if operation == "unwrap" => ("refused", Ok(())),
            Err(error @ KmsError::Refused(_)) => ("refused", Err(error.clone())),
            Err(error @ KmsError::Unavailable(_)) => ("unavailable", Err(error.clone())),
            Err(error @ KmsError::Damaged(_)) => ("damaged", Err(error.clone())),
        };
        counter!(QUESTIONS, "operation" => operation, "outcome" => label).increment(1);
        *self.last() = Some((Instant::now(), said));
    }

    fn last(&self) -> MutexGuard<'_, Answer> {
        // Replaced whole: a panic elsewhere cannot leave it half written.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kms for WatchedKms {
    fn wrap<'a>(&'a self, key: &'a Key, aad: &'a [u8]) -> BoxFuture<'a, Result<Wrapped, KmsError>> {
        async move {
            let outcome = self.kms.wrap(key, aad).await;
            self.notice("wrap", &outcome);
            outcome
        }
        .boxed()
    }

    fn unwrap_key<'a>(&'a self, wrapped: &'a Wrapped, aad: &'a [u8]) -> BoxFuture<'a, Result<Key, KmsError>> {
        async move {
            let outcome = self.kms.unwrap_key(wrapped, aad).await;
            self.notice("unwrap", &outcome);
            outcome
        }
        .boxed()
    }
}
