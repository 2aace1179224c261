//! What clients see while they are at work.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::request::Asked;
use crate::support::reply::Reply;

/// Status and name of errors, with a body of each.
type Errors = BTreeMap<(u16, String), String>;

/// What clients see while they are at work: how many answers, and which errors.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<(usize, Errors)>>);

impl Seen {
    pub(super) fn note(&self, asked: &Asked, answer: &Reply, known: bool) {
        if answer.status >= 500 && !asked.completes() {
            answer.problem();
        }
        let mut seen = self.0.lock().unwrap();
        seen.0 += usize::from(known);
        if answer.status >= 400 {
            let detail = || answer.text.clone();
            seen.1
                .entry((answer.status, answer.error()))
                .or_insert_with(detail);
        }
    }

    pub fn errors(&self) -> Errors {
        self.0.lock().unwrap().1.clone()
    }

    fn answered(&self) -> usize {
        self.0.lock().unwrap().0
    }

    /// Waits until `more` requests have got their answer from now on: the platform makes progress.
    pub async fn progress(&self, more: usize) {
        let (began, until) = (Instant::now(), self.answered() + more);
        while self.answered() < until {
            let errors = self.errors();
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "nothing goes on; {errors:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
