//! Clients that want an answer: each request has an Idempotency-Key and is repeated, to whichever process lives, until
//! its outcome is known. What they were told is held to the log by [`Told`].
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod request;
mod seen;
mod told;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::client::Client;
pub use self::request::Tenant;
use self::request::{Asked, Outcome};
pub use self::seen::Seen;
pub use self::told::Told;
use crate::support::random::Random;

/// The processes that take requests now.
#[derive(Clone, Default)]
pub struct Live(Arc<Mutex<Vec<String>>>);

impl Live {
    pub fn add(&self, url: &str) {
        self.0.lock().unwrap().push(url.to_owned());
    }

    pub fn remove(&self, url: &str) {
        self.0.lock().unwrap().retain(|other| other != url);
    }

    /// One of them; waits until there is one.
    async fn any(&self, random: &mut Random) -> String {
        loop {
            let urls = self.0.lock().unwrap().clone();
            if !urls.is_empty() {
                return random.choice(&urls).clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Clients at work.
pub struct Load {
    pub seen: Seen,
    clients: JoinSet<Vec<(Asked, Vec<Outcome>)>>,
    stop: CancellationToken,
}

impl Load {
    /// `clients` of them over `tenants`, all on the same agents.
    pub fn start(clients: usize, tenants: &[Tenant], live: &Live, random: &mut Random) -> Self {
        let (stop, seen, mut set) = (CancellationToken::new(), Seen::default(), JoinSet::new());
        for _ in 0..clients {
            let client = Client::new(tenants, live, &seen, random.fork());
            set.spawn(client.run(stop.clone()));
        }
        Self {
            seen,
            clients: set,
            stop,
        }
    }

    /// Lets each finish what it has begun; a process must be there that answers.
    pub async fn finish(mut self, told: &mut Told) {
        self.stop.cancel();
        while let Some(more) = self.clients.join_next().await {
            told.extend(more.expect("a client was answered as it should be"));
        }
    }
}
