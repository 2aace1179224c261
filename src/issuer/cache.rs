//! Issuers' keys in memory.
//!
//! Keys are renewed in the background when they are ten minutes old ([`IssuerKeys::renew`]), so that a key that its issuer
//! has taken back is soon taken back here. A token by a key that is not known asks the issuer at once, and waits: that is
//! how a rotation is noticed. However many such tokens come, an issuer is asked at most once in ten seconds, by one of
//! them, while the others wait for that answer (single-flight). With the issuer away the keys go on for an hour
//! and then end: nobody signs in by it, and the answer is 503, since it is not the token's fault.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Slots, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use counterfoil_events::background::{Background, Heartbeat};
use counterfoil_events::ids::IssuerId;
use counterfoil_events::issuer::IssuerUrl;
use counterfoil_events::security::SecurityState;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use super::documents::DocumentError;
use super::key_set::KeySet;

/// Keys of this age are renewed.
pub const RENEWED_AFTER: Duration = Duration::from_secs(600);
/// Keys of this age are not believed any more.
pub const LIFETIME: Duration = Duration::from_secs(3600);
/// Between two questions to one issuer.
pub const PAUSE: Duration = Duration::from_secs(10);
/// How often it is looked which keys are to be renewed.
const LOOK: Duration = Duration::from_secs(10);

/// Issuers that are asked at one time.
const AT_ONCE: usize = 16;

/// Reads the time; tests move it.
pub type Now = Arc<dyn Fn() -> Instant + Send + Sync>;
/// Asks an issuer for its keys.
pub type Ask = Arc<dyn Fn(IssuerUrl) -> BoxFuture<'static, Result<KeySet, DocumentError>> + Send + Sync>;

/// The keys of all issuers.
pub struct IssuerKeys {
    ask: Ask,
    now: Now,
    slots: Slots<HashMap<IssuerId, Arc<Slot>>>,
}

/// One issuer's place. The lock `asking` is held while it is asked.
#[derive(Default)]
struct Slot {
    asking: Mutex<()>,
    held: Slots<Held>,
}

#[derive(Default, Clone)]
struct Held {
    keys: Option<(Arc<KeySet>, Instant)>,
    asked_at: Option<Instant>,
}

impl Held {
    fn live(&self, now: Instant) -> Option<&Arc<KeySet>> {
        let (keys, since) = self.keys.as_ref()?;
        (now.saturating_duration_since(*since) < LIFETIME).then_some(keys)
    }

    fn may_ask(&self, now: Instant) -> bool {
        self.asked_at
            .is_none_or(|asked| now.saturating_duration_since(asked) >= PAUSE)
    }

    fn is_old(&self, now: Instant) -> bool {
        self.keys
            .as_ref()
            .is_none_or(|(_, since)| now.saturating_duration_since(*since) >= RENEWED_AFTER)
    }
}

impl IssuerKeys {
    /// None yet.
    #[must_use]
    pub fn new(ask: Ask, now: Now) -> Self {
        Self {
            ask,
            now,
            slots: Slots::default(),
        }
    }

    /// The keys of an issuer, as old as they may be; none when they are not known now.
    #[must_use]
    pub fn get(&self, issuer: IssuerId) -> Option<Arc<KeySet>> {
        let slot = lock(&self.slots).get(&issuer).cloned()?;
        lock(&slot.held).live((self.now)()).cloned()
    }

    /// Makes sure that a key of this name is known, if the issuer has it and can be asked.
    pub async fn find(&self, issuer: IssuerId, url: &IssuerUrl, kid: &str) {
        let lacks = |held: &Held, now| !held.live(now).is_some_and(|keys| keys.names(kid));
        self.ask_if(issuer, url, lacks).await;
    }

    /// Renews an issuer's keys if they are old.
    pub async fn renew(&self, issuer: IssuerId, url: &IssuerUrl) {
        self.ask_if(issuer, url, Held::is_old).await;
    }

    /// Forgets the keys of all issuers but these.
    pub fn keep(&self, issuers: &[IssuerId]) {
        lock(&self.slots).retain(|issuer, _| issuers.contains(issuer));
    }

    async fn ask_if(&self, issuer: IssuerId, url: &IssuerUrl, wanted: impl Fn(&Held, Instant) -> bool) {
        let slot = Arc::clone(lock(&self.slots).entry(issuer).or_default());
        let asks = |held: &Held, now| wanted(held, now) && (held.may_ask(now));
        // Nobody waits for an answer that is not wanted.
        if !wanted(&lock(&slot.held), (self.now)()) {
            return;
        }
        let _asking = slot.asking.lock().await;
        let now = (self.now)();
        {
            let mut held = lock(&slot.held);
            if !asks(&held, now) {
                return;
            }
            held.asked_at = Some(now);
        }
        match (self.ask)(url.clone()).await {
            Ok(keys) => lock(&slot.held).keys = Some((Arc::new(keys), now)),
            Err(error) => {
                metrics::counter!("counterfoil_issuer_keys_failed_total").increment(1);
                tracing::warn!(%issuer, %error, "the keys of an issuer could not be fetched");
            }
        }
    }
}

fn lock<T>(slots: &Slots<T>) -> MutexGuard<'_, T> {
    // Plain values, each written whole.
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts to renew the keys of all live issuers. Should it end, keys end by themselves.
pub fn renew_in_time(keys: Arc<IssuerKeys>, security: SecurityState) -> Background {
    Background::start("issuer-keys", |heartbeat| async move {
        renew(&keys, &security, &heartbeat).await;
    })
}

async fn renew(keys: &IssuerKeys, security: &SecurityState, heartbeat: &Heartbeat) {
    loop {
        heartbeat.during(tokio::time::sleep(LOOK)).await;
        let live = security.issuers(|issuer| !issuer.suspended);
        keys.keep(&live.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        // One that does not answer keeps few others waiting.
        let renewing = futures::stream::iter(live).for_each_concurrent(AT_ONCE, |(id, issuer)| async move {
            keys.renew(id, &issuer.url).await;
        });
        heartbeat.during(renewing).await;
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
