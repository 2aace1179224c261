//! Which projector feeds which read model, as a hint: session-level advisory locks, whose connection is the lock. That two
//! feed the same one does no harm.
//!
//! There is a lock for each read model *in each revision*: while a program is replaced, the new one builds its version
//! beside the live one, which the old one feeds on until it is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::ledger::{CALL_TIMEOUT, within};
use counterfoil_projections::engine::{Declaration, Projection};
use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The first key of the locks of this kind.
const PROJECTOR_CLASS: i32 = 0x4346_0002;
/// One answer for each lock that was asked for. Those that are held already are not asked for again.
const TRY_LOCKS: &str =
    "SELECT name, pg_try_advisory_lock($1, hashtext(name)) FROM unnest($2::text[]) AS name";
/// How often a stand-by looks whether it may lead, and a leader whether it still does.
const LOOK: Duration = Duration::from_secs(1);

type Names = BTreeSet<&'static str>;

/// Which read models this process feeds.
#[derive(Clone)]
pub(super) struct Leader(watch::Receiver<Names>);

impl Leader {
    /// Starts to compete; without `alone` it leads in all at once.
    pub(super) fn start(
        tasks: &mut JoinSet<()>,
        stop: CancellationToken,
        pool: PgPool,
        projections: &[Arc<dyn Projection>],
        alone: bool,
    ) -> Self {
        let declarations: Vec<_> = projections.iter().map(|of| of.declaration()).collect();
        let all = declarations.iter().map(|of| of.name).collect();
        let (leads, leader) = watch::channel(if alone { Names::new() } else { all });
        tasks.spawn(async move {
            match alone {
                true => {
                    let competing = compete(pool, declarations, &leads);
                    stop.run_until_cancelled(competing).await.unwrap_or(());
                }
                // Holds the channel open.
                false => stop.cancelled().await,
            }
        });
        Self(leader)
    }

    pub(super) fn leads(&self, projection: &str) -> bool {
        self.0.borrow().contains(projection)
    }
}

/// The locks that are held, and the connection that holds them.
struct Held {
    connection: PgConnection,
    names: Names,
}

async fn compete(pool: PgPool, declarations: Vec<&'static Declaration>, leads: &watch::Sender<Names>) {
    let mut held: Option<Held> = None;
    loop {
        // A connection that does not answer is closed, and its locks with it.
        held = match within(CALL_TIMEOUT, ask(&pool, held.take(), &declarations)).await {
            Ok(held) => Some(held),
            Err(error) => {
                tracing::warn!(%error, "the projector's locks cannot be asked for");
                None
            }
        };
        let names = held.as_ref().map(|held| held.names.clone()).unwrap_or_default();
        leads.send_if_modified(|leads| {
            let changed = *leads != names;
            *leads = names;
            changed
        });
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks for the locks that are not held yet.
async fn ask(
    pool: &PgPool,
    held: Option<Held>,
    declarations: &[&'static Declaration],
) -> Result<Held, sqlx::Error> {
    let Held {
        mut connection,
        mut names,
    } = match held {
        Some(held) => held,
        // Out of the pool: should we give up waiting for the answer, a lock that it brings ends with the connection.
        None => Held {
            connection: pool.acquire().await?.detach(),
            names: Names::new(),
        },
    };
    let wanted: BTreeMap<String, &'static str> = declarations
        .iter()
        .filter(|of| !names.contains(of.name))
        .map(|of| (format!("{} {}", of.name, of.revision), of.name))
        .collect();
    let answers: Vec<(String, bool)> = sqlx::query_as(TRY_LOCKS)
        .bind(PROJECTOR_CLASS)
        .bind(wanted.keys().cloned().collect::<Vec<_>>())
        .fetch_all(&mut connection)
        .await?;
    let got = answers.into_iter().filter(|(_, held)| *held);
    names.extend(got.filter_map(|(lock, _)| wanted.get(&lock).copied()));
    Ok(Held { connection, names })
}
