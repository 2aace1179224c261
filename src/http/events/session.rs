//! One open stream of events, whatever carries it: what it sends, and why it ends.
//!
//! Beside the events it sends its progress from time to time, so that a client whose selection is rare does not begin
//! far back when it connects again. Every second it is asked whether the stream may go on: the credential, the tenant.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use counterfoil_consumers::subscriptions::{Batch, Dropped, Item, Subscription};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::security::SecurityState;
use futures::Stream;
use futures::stream::unfold;
use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::http::auth::Admission;

const CHECK: Duration = Duration::from_secs(1);
/// How often it is asked whether a session is in use; idle times are minutes.
const IDLE_CHECK: Duration = Duration::from_secs(5);
/// How long a client may stay without an id to go on from while others' events pass.
const PROGRESS: Duration = Duration::from_secs(15);
const DROPPED: &str = "counterfoil_subscriptions_ended_total";

/// What a stream sends.
#[derive(Debug)]
pub(super) enum Output {
    /// An event.
    Event(Arc<Item>),
    /// Everything up to and with this position is done with, and nothing in it was wanted.
    Progress(Progress),
    /// The end. Nothing follows.
    Ended(Ending),
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Progress {
    pub position: Position,
}

/// Why a stream ended, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Ending {
    /// Stable: clients may branch on it.
    pub reason: Reason,
    /// For people.
    pub detail: String,
    /// Everything up to and with this position was sent.
    pub position: Position,
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    /// The client read more slowly than the log grew.
    Slow,
    /// The process stops.
    Draining,
    /// The credential is no longer let in.
    CredentialRevoked,
    /// The tenant, or its organisation, was suspended.
    TenantSuspended,
    /// The log is damaged.
    LogDamaged,
}

impl Reason {
    /// As in the documents.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Draining => "draining",
            Self::CredentialRevoked => "credential_revoked",
            Self::TenantSuspended => "tenant_suspended",
            Self::LogDamaged => "log_damaged",
        }
    }
}

/// Whether everything in a tenant is stopped. What the security state does not know yet, the platform's own log
/// among it, is not.
pub(super) fn is_suspended(security: &SecurityState, tenant: TenantId) -> bool {
    security.stopped_at(tenant).is_some()
}

/// An open stream.
pub(super) struct Session {
    subscription: Subscription,
    guard: Guard,
    position: Position,
    /// When the client last got an id, and which.
    sent: (Instant, Position),
    ready: VecDeque<Arc<Item>>,
    ended: bool,
}

/// What may end a stream from outside.
struct Guard {
    admission: Admission,
    security: SecurityState,
    draining: CancellationToken,
    tenant: TenantId,
    check: Interval,
    /// When it was last asked whether somebody is there.
    asked: Instant,
}

impl Session {
    pub(super) fn new(
        subscription: Subscription,
        admission: Admission,
        security: SecurityState,
        draining: CancellationToken,
        tenant: TenantId,
    ) -> Self {
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let position = subscription.cursor();
        Self {
            subscription,
            guard: Guard {
                admission,
                security,
                draining,
                tenant,
                check,
                asked: Instant::now(),
            },
            position,
            sent: (Instant::now(), position),
            ready: VecDeque::new(),
            ended: false,
        }
    }

    /// Everything it sends, its end last.
    pub(super) fn outputs(self) -> impl Stream<Item = Output> + Send + 'static {
        unfold(self, |mut session| async move {
            let output = session.next().await?;
            Some((output, session))
        })
    }

    async fn next(&mut self) -> Option<Output> {
        if self.ended {
            return None;
        }
        loop {
            if let Some(item) = self.ready.pop_front() {
                self.sent = (Instant::now(), item.position());
                return Some(Output::Event(item));
            }
            match self.wait().await {
                Ok(Some(batch)) => {
                    self.ready = batch.items.into();
                    self.position = batch.through;
                }
                Ok(None) => {
                    let position = self.position;
                    self.sent = (Instant::now(), position);
                    return Some(Output::Progress(Progress { position }));
                }
                Err((reason, detail)) => return Some(self.end(reason, detail)),
            }
        }
    }

    /// The next batch; nothing when it is time to say how far it is.
    async fn wait(&mut self) -> Result<Option<Batch>, (Reason, String)> {
        let Self {
            subscription,
            guard,
            position,
            sent,
            ..
        } = self;
        // Kept over the checks, which would otherwise let a slow read begin again and again.
        let mut batch = pin!(subscription.next());
        loop {
            tokio::select! {
                biased;
                () = guard.draining.cancelled() => return Err(of_dropped(Dropped::Stopped)),
                _ = guard.check.tick() => {
                    guard.may_go_on()?;
                    guard.is_somebody_there().await?;
                    if *position > sent.1 && sent.0.elapsed() >= PROGRESS {
                        return Ok(None);
                    }
                }
                batch = &mut batch => return batch.map(Some).map_err(of_dropped),
            }
        }
    }

    fn end(&mut self, reason: Reason, detail: String) -> Output {
        self.ended = true;
        metrics::counter!(DROPPED, "reason" => reason.as_str()).increment(1);
        Output::Ended(Ending {
            reason,
            detail,
            position: self.position,
        })
    }
}

impl Guard {
    fn may_go_on(&self) -> Result<(), (Reason, String)> {
        if self.admission.still_stands().is_err() {
            let detail = "the credential that opened this stream is no longer admitted";
            return Err((Reason::CredentialRevoked, detail.to_owned()));
        }
        if is_suspended(&self.security, self.tenant) {
            let detail = format!("tenant {} is suspended", self.tenant);
            return Err((Reason::TenantSuspended, detail));
        }
        Ok(())
    }
}

impl Guard {
    /// A page that is left open goes on listening; it is no use of its session, which ends when nobody uses it.
    async fn is_somebody_there(&mut self) -> Result<(), (Reason, String)> {
        if self.asked.elapsed() < IDLE_CHECK {
            return Ok(());
        }
        self.asked = Instant::now();
        if self.admission.session_lies_idle().await {
            let detail = "the session that opened this stream was not used for too long";
            return Err((Reason::CredentialRevoked, detail.to_owned()));
        }
        Ok(())
    }
}

fn of_dropped(dropped: Dropped) -> (Reason, String) {
    let reason = match dropped {
        Dropped::Slow => Reason::Slow,
        Dropped::Damaged => Reason::LogDamaged,
        Dropped::Stopped => Reason::Draining,
    };
    (reason, dropped.to_string())
}
