//! Ten minutes and no longer, one question at a time, on a clock that the test moves.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::future::{BoxFuture, FutureExt as _, join_all};
use uuid::Uuid;

use super::*;

/// A KMS that counts and can be away. It takes a turn of the scheduler for each answer, so that questions overlap.
#[derive(Default)]
struct Counting {
    asked: AtomicUsize,
    away: AtomicBool,
}

impl Kms for Counting {
    fn wrap<'a>(&'a self, key: &'a Key, _: &'a [u8]) -> BoxFuture<'a, Result<Wrapped, KmsError>> {
        let bytes = key.expose().to_vec();
        async move { Ok(wrapped(bytes)) }.boxed()
    }

    fn unwrap_key<'a>(&'a self, wrapped: &'a Wrapped, _: &'a [u8]) -> BoxFuture<'a, Result<Key, KmsError>> {
        async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            if self.away.load(Ordering::SeqCst) {
                return Err(KmsError::Unavailable("away".to_owned()));
            }
            Ok(Key::from_bytes(&wrapped.bytes).unwrap())
        }
        .boxed()
    }
}

fn wrapped(bytes: Vec<u8>) -> Wrapped {
    let kek = "1".to_owned();
    Wrapped { kek, bytes }
}

struct Scene {
    kms: Arc<Counting>,
    keys: OrganisationKeys,
    ahead_ms: Arc<Slots<Duration>>,
}

impl Scene {
    fn new() -> Self {
        let (kms, ahead_ms) = (
            Arc::new(Counting::default()),
            Arc::new(Slots::new(Duration::ZERO)),
        );
        let (start, ahead) = (Instant::now(), Arc::clone(&ahead_ms));
        let now: Now = Arc::new(move || start + *ahead.lock().unwrap());
        let keys = OrganisationKeys::new(Arc::clone(&kms) as Arc<dyn Kms>, now);
        Self { kms, keys, ahead_ms }
    }

    fn advance(&self, seconds: u64) {
        *self.ahead_ms.lock().unwrap() += Duration::from_secs(seconds);
    }

    fn away(&self, away: bool) {
        self.kms.away.store(away, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.kms.asked.load(Ordering::SeqCst)
    }

    async fn get(&self, organisation: u128) -> Result<Arc<Key>, KmsError> {
        let name = KeyName {
            organisation: OrganisationId(Uuid::from_u128(organisation)),
            number: 1,
        };
        self.keys.get(name, &wrapped(vec![1; 32])).await
    }
}

#[tokio::test]
async fn with_the_kms_away_a_key_serves_at_9_59_and_not_at_10_01() {
    let scene = Scene::new();
    scene.get(1).await.unwrap();
    scene.away(true);
    scene.advance(599);
    scene.get(1).await.unwrap();
    scene.advance(2);
    assert!(matches!(scene.get(1).await, Err(KmsError::Unavailable(_))));
    scene.away(false);
    scene.get(1).await.unwrap();
}

#[tokio::test]
async fn renewals_that_fail_do_not_lengthen_a_keys_life() {
    let scene = Scene::new();
    scene.get(1).await.unwrap();
    scene.away(true);
    for _ in 0..60 {
        scene.advance(10);
        scene.keys.renew().await;
        let used = scene.get(1).await;
        assert!(used.is_ok() || *scene.ahead_ms.lock().unwrap() >= LIFETIME);
    }
    assert!(scene.get(1).await.is_err());
}

#[tokio::test]
async fn a_crowd_asks_the_kms_once() {
    let scene = Scene::new();
    let answers = join_all((0..50).map(|_| scene.get(1))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn a_crowd_that_waits_for_a_kms_which_is_away_is_told_at_once() {
    let scene = Scene::new();
    scene.away(true);
    let answers = join_all((0..50).map(|_| scene.get(1))).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(scene.asked(), 1);
    scene.away(false);
    scene.get(1).await.unwrap();
}

#[tokio::test]
async fn a_key_in_use_is_renewed_before_it_ends_and_lives_on_through_an_outage_from_there() {
    let scene = Scene::new();
    scene.get(1).await.unwrap();
    scene.advance(480);
    scene.keys.renew().await;
    assert_eq!(scene.asked(), 2, "renewed at eight minutes at the latest");
    scene.away(true);
    scene.advance(599);
    scene.get(1).await.unwrap();
}

#[tokio::test]
async fn a_key_is_not_renewed_in_its_first_five_minutes_nor_when_nobody_uses_it() {
    let scene = Scene::new();
    scene.get(1).await.unwrap();
    scene.advance(299);
    scene.keys.renew().await;
    assert_eq!(scene.asked(), 1);
    scene.advance(181);
    scene.keys.renew().await;
    assert_eq!(scene.asked(), 2);
    scene.advance(480);
    scene.keys.renew().await;
    assert_eq!(scene.asked(), 2, "nobody used it since");
    scene.advance(120);
    scene.keys.renew().await;
    assert!(scene.keys.lock().is_empty(), "what is over is wiped");
}

#[tokio::test]
async fn many_keys_are_not_renewed_at_one_moment() {
    let scene = Scene::new();
    for organisation in 0..200 {
        scene.get(organisation).await.unwrap();
    }
    scene.advance(390);
    scene.keys.renew().await;
    let renewed = scene.asked() - 200;
    assert!(
        (1..200).contains(&renewed),
        "{renewed} of 200 at half of the time"
    );
}

#[tokio::test]
async fn the_number_of_keys_is_bounded_and_the_oldest_gives_way() {
    let scene = Scene::new();
    for organisation in 0..=KEYS_MAX as u128 {
        scene.advance(0);
        *scene.ahead_ms.lock().unwrap() += Duration::from_millis(1);
        scene.get(organisation).await.unwrap();
    }
    assert_eq!(scene.keys.lock().len(), KEYS_MAX);
    let before = scene.asked();
    scene.get(0).await.unwrap();
    assert_eq!(scene.asked(), before + 1, "the first one was given up");
}

#[tokio::test]
async fn a_key_that_was_wrapped_anew_is_asked_for_anew() {
    let scene = Scene::new();
    scene.get(1).await.unwrap();
    let name = KeyName {
        organisation: OrganisationId(Uuid::from_u128(1)),
        number: 1,
    };
    scene.keys.get(name, &wrapped(vec![2; 32])).await.unwrap();
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn what_is_cached_says_how_long_the_first_of_it_serves() {
    let scene = Scene::new();
    assert_eq!(scene.keys.cached(), None);
    scene.get(1).await.unwrap();
    scene.advance(100);
    scene.get(2).await.unwrap();
    scene.advance(100);
    let cached = Cached {
        keys: 2,
        first_ends_in: Duration::from_secs(400),
    };
    assert_eq!(scene.keys.cached(), Some(cached));
    scene.advance(400);
    let cached = scene.keys.cached().unwrap();
    assert_eq!((cached.keys, cached.first_ends_in), (1, Duration::from_secs(100)));
    scene.advance(100);
    assert_eq!(scene.keys.cached(), None);
}

#[tokio::test]
async fn a_kms_that_is_watched_is_as_its_last_answer_was_and_is_asked_again_while_it_is_away() {
    let kms = Arc::new(Counting::default());
    let watched = crate::vault::kms::watched::WatchedKms::new(Arc::clone(&kms) as Arc<dyn Kms>);
    assert_eq!(watched.trouble(), None, "it was not asked yet");
    kms.away.store(true, Ordering::SeqCst);
    let refused = watched.unwrap_key(&wrapped(vec![1; 32]), b"here").await;
    assert!(refused.is_err());
    assert!(matches!(watched.trouble(), Some(KmsError::Unavailable(_))));
    // It asks for something of its own, which this KMS gives.
    watched.look().await;
    assert_eq!(watched.trouble(), None);
    let asked = kms.asked.load(Ordering::SeqCst);
    watched.look().await;
    assert_eq!(
        kms.asked.load(Ordering::SeqCst),
        asked,
        "what is known is not asked"
    );
}
