//! One client: it thinks of requests, asks until it is told, and now and then asks again. It keeps all that it was told:
//! that two answers to one request are of one completion, the log says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::request::{Asked, Kind, Outcome, Tenant, assert_same, judge};
use super::{Live, Seen};
use crate::support::random::Random;
use crate::support::reply::Reply;

/// How long an answer may take before the client asks elsewhere.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Client {
    http: reqwest::Client,
    tenants: Vec<Tenant>,
    live: Live,
    seen: Seen,
    random: Random,
}

impl Client {
    pub(super) fn new(tenants: &[Tenant], live: &Live, seen: &Seen, random: Random) -> Self {
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self {
            http,
            tenants: tenants.to_vec(),
            live: live.clone(),
            seen: seen.clone(),
            random,
        }
    }

    /// Asks one thing after another until `stop`; answers what it was told.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Vec<(Asked, Vec<Outcome>)> {
        let mut told = Vec::new();
        while !stop.is_cancelled() {
            let asked = self.think();
            let mut outcomes = vec![self.resolve(&asked).await];
            // Whoever asks again is told the same, unless nothing was written: then it may be done now.
            if outcomes[0] != Outcome::Refused && self.random.below(8) == 0 {
                let again = self.resolve(&asked).await;
                assert_same(&asked, &outcomes[0], &again);
                outcomes.push(again);
            }
            told.push((asked, outcomes));
        }
        told
    }

    fn think(&mut self) -> Asked {
        let tenant = self.random.choice(&self.tenants).clone();
        let key = format!("{:016x}{:016x}", self.random.next(), self.random.next());
        // Of sixteen: five agents, five changes of one agent, a run, three completions, two streams.
        let kind = match self.random.below(16) {
            0..=4 => Kind::Register,
            5..=9 => Kind::Change,
            10 => Kind::Run,
            11..=13 => Kind::Complete,
            _ => Kind::Stream,
        };
        Asked::new(kind, tenant, key)
    }

    /// Asks until the outcome is known.
    async fn resolve(&mut self, asked: &Asked) -> Outcome {
        let mut tries = 0;
        loop {
            let url = format!("{}{}", self.live.any(&mut self.random).await, asked.path);
            // No answer, or none whole: the outcome is not known.
            if let Ok(reply) = Reply::try_of(asked.request(&self.http, &url)).await {
                let outcome = judge(asked, &reply, &mut tries);
                self.seen.note(asked, &reply, outcome.is_some());
                if let Some(outcome) = outcome {
                    return outcome;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
