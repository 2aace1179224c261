//! Organisations' keys in memory, so that a KMS that is away is not noticed for ten minutes, and not for longer.
//!
//! A key may be used for [`LIFETIME`] from the moment at which the KMS was asked for it: at 9:59 it works, at 10:01 it is
//! asked for again, and if the KMS is away that is the answer. Who needs a key that somebody is already asking for waits
//! for that answer, good or bad (single-flight). Keys that are in use are renewed before they end ([`OrganisationKeys::renew`], five to
//! eight minutes old, each at a moment of its own, so that many keys do not ask at one time); a key that nobody used since
//! is left to end, and is wiped. The number of keys is bounded: the one asked for longest ago gives way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Slots, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use counterfoil_events::ids::OrganisationId;
use metrics::gauge;
use tokio::sync::Mutex;

use super::binding;
use super::key::Key;
use super::kms::{Kms, KmsError, Wrapped};

/// How long a key may be used after the KMS gave it.
pub const LIFETIME: Duration = Duration::from_secs(600);
/// A key in use is renewed from this age on …
const RENEWED_FROM: Duration = Duration::from_secs(300);
/// … and up to this much later.
const RENEWED_WITHIN: Duration = Duration::from_secs(180);
/// How many keys are in memory.
pub const CACHED: &str = "counterfoil_vault_keys_cached";
/// Most keys at one time.
const KEYS_MAX: usize = 1024;

/// Reads the time; tests move it.
pub type Now = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyName {
    /// Whose.
    pub organisation: OrganisationId,
    /// Which of its keys, from 1.
    pub number: u32,
}

/// What is in memory, and so serves without the KMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cached {
    /// How many keys.
    pub keys: usize,
    /// How long the first of them to end may still be used.
    pub first_ends_in: Duration,
}

/// The keys of organisations, unwrapped.
pub struct OrganisationKeys {
    kms: Arc<dyn Kms>,
    now: Now,
    slots: Slots<HashMap<KeyName, Arc<Slot>>>,
}

/// One key's place. Its lock is held while the KMS is asked the first time.
struct Slot {
    wrapped: Wrapped,
    held: Mutex<Option<Held>>,
    asked: Slots<Asked>,
    /// How often the KMS did not give it, and what it said last.
    failures: Slots<(u64, Option<KmsError>)>,
}

struct Held {
    key: Arc<Key>,
    since: Instant,
}

/// When a key is renewed, and whether it needs to be.
struct Asked {
    last: Instant,
    renew_at: Instant,
    used: bool,
}

impl OrganisationKeys {
    /// None yet.
    #[must_use]
    pub fn new(kms: Arc<dyn Kms>, now: Now) -> Self {
        Self {
            kms,
            now,
            slots: Slots::default(),
        }
    }

    /// The key, from memory or from the KMS.
    ///
    /// # Errors
    /// When it is not in memory and the KMS does not give it.
    pub async fn get(&self, name: KeyName, wrapped: &Wrapped) -> Result<Arc<Key>, KmsError> {
        let slot = self.slot(name, wrapped);
        let before = slot.failures().0;
        let mut held = slot.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| self.is_alive(held)) {
            return Ok(Arc::clone(&held.key));
        }
        // What is over is wiped, whatever the KMS says now.
        *held = None;
        // Whoever waited for an answer has it, also when it was that the KMS is away: a crowd must not wait in a row.
        if let (failures, Some(error)) = &*slot.failures()
            && *failures > before
        {
            return Err(error.clone());
        }
        let fetched = self.fetch(name, &slot.wrapped).await;
        let fetched = fetched.inspect_err(|error| slot.failed(error))?;
        slot.schedule((self.now)(), true);
        let key = Arc::clone(&fetched.key);
        *held = Some(fetched);
        Ok(key)
    }

    /// Renews what is due and was used, and wipes what is over. To be called every few seconds; a key that cannot be renewed
    /// is tried again the next time, and serves until its end. Says how many could not be.
    pub async fn renew(&self) -> usize {
        let mut failed = 0;
        for (name, slot) in self.due() {
            match self.fetch(name, &slot.wrapped).await {
                Ok(fetched) => {
                    *slot.held.lock().await = Some(fetched);
                    slot.schedule((self.now)(), false);
                }
                Err(error) => {
                    failed += 1;
                    tracing::warn!(organisation = %name.organisation, key = name.number, %error, "an organisation's key could not be renewed");
                }
            }
        }
        self.wipe();
        failed
    }

    /// What serves without the KMS; `None` when nothing does. A key that is being asked for right now is not counted.
    #[must_use]
    pub fn cached(&self) -> Option<Cached> {
        let now = (self.now)();
        let slots = self.lock();
        let left = slots.values().filter_map(|slot| {
            let held = slot.held.try_lock().ok()?;
            let age = now.saturating_duration_since(held.as_ref()?.since);
            LIFETIME.checked_sub(age).filter(|left| !left.is_zero())
        });
        let left: Vec<Duration> = left.collect();
        gauge!(CACHED).set(f64::from(u32::try_from(left.len()).unwrap_or(u32::MAX)));
        Some(Cached {
            keys: left.len(),
            first_ends_in: left.into_iter().min()?,
        })
    }

    async fn fetch(&self, name: KeyName, wrapped: &Wrapped) -> Result<Held, KmsError> {
        // Before the question: the time that it takes counts.
        let since = (self.now)();
        let aad = binding::of_organisation_key(name.organisation, name.number);
        let key = self.kms.unwrap_key(wrapped, &aad).await?;
        Ok(Held {
            key: Arc::new(key),
            since,
        })
    }

    /// The key's place; a new one where the row was wrapped anew since.
    fn slot(&self, name: KeyName, wrapped: &Wrapped) -> Arc<Slot> {
        let now = (self.now)();
        let mut slots = self.lock();
        if let Some(slot) = slots.get(&name).filter(|slot| slot.wrapped == *wrapped) {
            let mut asked = slot.asked();
            (asked.last, asked.used) = (now, true);
            drop(asked);
            return Arc::clone(slot);
        }
        if slots.len() >= KEYS_MAX {
            let oldest = slots.iter().min_by_key(|(_, slot)| slot.asked().last);
            if let Some(name) = oldest.map(|(name, _)| *name) {
                slots.remove(&name);
            }
        }
        let slot = Arc::new(Slot::new(wrapped.clone(), now));
        slots.insert(name, Arc::clone(&slot));
        slot
    }

    fn due(&self) -> Vec<(KeyName, Arc<Slot>)> {
        let now = (self.now)();
        let slots = self.lock();
        let due = slots.iter().filter(|(_, slot)| {
            let asked = slot.asked();
            asked.used && asked.renew_at <= now
        });
        due.map(|(name, slot)| (*name, Arc::clone(slot))).collect()
    }

    /// Takes out what is over. A place whose lock is taken is in use.
    fn wipe(&self) {
        self.lock().retain(|_, slot| match slot.held.try_lock() {
            Ok(held) => held.as_ref().is_some_and(|held| self.is_alive(held)),
            Err(_) => true,
        });
    }

    fn is_alive(&self, held: &Held) -> bool {
        (self.now)().saturating_duration_since(held.since) < LIFETIME
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyName, Arc<Slot>>> {
        // Every change to the map is whole before anything can panic.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new(wrapped: Wrapped, now: Instant) -> Self {
        Self {
            wrapped,
            held: Mutex::new(None),
            asked: Slots::new(Asked {
                last: now,
                renew_at: now + LIFETIME,
                used: true,
            }),
            failures: Slots::default(),
        }
    }

    fn failed(&self, error: &KmsError) {
        let mut failures = self.failures();
        *failures = (failures.0 + 1, Some(error.clone()));
    }

    fn failures(&self) -> MutexGuard<'_, (u64, Option<KmsError>)> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next renewal, at a moment of this key's own.
    fn schedule(&self, now: Instant, used: bool) {
        let chance = f64::from(u16::from_be_bytes(random())) / f64::from(u16::MAX);
        let mut asked = self.asked();
        asked.renew_at = now + RENEWED_FROM + RENEWED_WITHIN.mul_f64(chance);
        asked.used = used;
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without randomness all keys are renewed at one age: slower, not wrong.
fn random() -> [u8; 2] {
    let mut bytes = [0; 2];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
