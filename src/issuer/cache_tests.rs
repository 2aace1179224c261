//! One question at a time and not often, and an hour without an answer at the most, on a clock that the test moves.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::FutureExt as _;
use futures::future::join_all;

use super::super::tests::Signer;
use super::*;

/// An issuer that counts, rotates, and can be away. It takes a turn of the scheduler for each answer, so that questions
/// overlap.
struct Scene {
    issuer: IssuerId,
    url: IssuerUrl,
    keys: IssuerKeys,
    asked: Arc<AtomicUsize>,
    away: Arc<AtomicBool>,
    published: Arc<Slots<String>>,
    ahead: Arc<Slots<Duration>>,
}

impl Scene {
    fn new() -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let away = Arc::new(AtomicBool::new(false));
        let published = Arc::new(Slots::new(Signer::es256("one").key_set()));
        let ahead = Arc::new(Slots::new(Duration::ZERO));
        let (counted, is_away, documents) = (Arc::clone(&asked), Arc::clone(&away), Arc::clone(&published));
        let ask: Ask = Arc::new(move |_| {
            let (counted, is_away) = (Arc::clone(&counted), Arc::clone(&is_away));
            let document = documents.lock().unwrap().clone();
            async move {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                match is_away.load(Ordering::SeqCst) {
                    true => Err(DocumentError::OtherIssuer("away".to_owned())),
                    false => Ok(KeySet::read(&document).unwrap()),
                }
            }
            .boxed()
        });
        let (start, moved) = (Instant::now(), Arc::clone(&ahead));
        let now: Now = Arc::new(move || start + *moved.lock().unwrap());
        Self {
            issuer: IssuerId::generate(),
            url: "https://login.example".parse().unwrap(),
            keys: IssuerKeys::new(ask, now),
            asked,
            away,
            published,
            ahead,
        }
    }

    fn advance(&self, seconds: u64) {
        *self.ahead.lock().unwrap() += Duration::from_secs(seconds);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Whether a key of this name is there, after it was looked for.
    async fn finds(&self, kid: &str) -> bool {
        self.keys.find(self.issuer, &self.url, kid).await;
        self.keys.get(self.issuer).is_some_and(|keys| keys.names(kid))
    }
}

#[tokio::test]
async fn a_rotated_key_is_found_and_the_one_before_is_over() {
    let scene = Scene::new();
    assert!(scene.finds("one").await);
    *scene.published.lock().unwrap() = Signer::es256("two").key_set();
    scene.advance(11);
    assert!(scene.finds("two").await);
    assert!(!scene.keys.get(scene.issuer).unwrap().names("one"));
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn a_crowd_asks_an_issuer_once() {
    let scene = Scene::new();
    let found = join_all((0..50).map(|_| scene.finds("one"))).await;
    assert!(found.into_iter().all(|found| found));
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn unknown_keys_ask_an_issuer_once_in_ten_seconds_however_many_they_are() {
    let scene = Scene::new();
    assert!(scene.finds("one").await);
    for second in 0..30 {
        scene.advance(1);
        for attempt in 0..20 {
            assert!(!scene.finds(&format!("forged-{second}-{attempt}")).await);
        }
    }
    assert_eq!(scene.asked(), 1 + 3);
}

#[tokio::test]
async fn with_the_issuer_away_keys_go_on_for_an_hour_and_then_end() {
    let scene = Scene::new();
    assert!(scene.finds("one").await);
    scene.away.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        scene.advance(700);
        scene.keys.renew(scene.issuer, &scene.url).await;
        assert!(scene.finds("one").await);
    }
    scene.advance(101);
    assert!(!scene.finds("one").await);
    assert!(
        scene.keys.get(scene.issuer).is_none(),
        "not known, rather than refused"
    );
    scene.away.store(false, Ordering::SeqCst);
    scene.advance(10);
    assert!(scene.finds("one").await);
}

#[tokio::test]
async fn keys_are_renewed_when_they_are_ten_minutes_old_and_not_before() {
    let scene = Scene::new();
    assert!(scene.finds("one").await);
    scene.advance(599);
    scene.keys.renew(scene.issuer, &scene.url).await;
    assert_eq!(scene.asked(), 1);
    scene.advance(2);
    scene.keys.renew(scene.issuer, &scene.url).await;
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn the_keys_of_an_issuer_that_is_no_more_are_forgotten() {
    let scene = Scene::new();
    assert!(scene.finds("one").await);
    scene.keys.keep(&[scene.issuer]);
    assert!(scene.keys.get(scene.issuer).is_some());
    scene.keys.keep(&[]);
    assert!(scene.keys.get(scene.issuer).is_none());
}
