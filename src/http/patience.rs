//! For how long a connection may be held for nothing, and the small state machine that finds out.
//!
//! hyper knows one timeout, for reading a head, and counts waiting for the next request into it. Here the three ways
//! have a limit each: *idle* between requests, *slow head* (a request that is begun and not finished), *stalled* (an
//! answer that the client does not read).

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// For how long a connection may be held for nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub idle: Duration,
    pub head: Duration,
    pub stalled: Duration,
}

/// Why a connection is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    Idle,
    SlowHead,
    Stalled,
}

impl Loss {
    /// As it stands in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::SlowHead => "slow_head",
            Self::Stalled => "stalled",
        }
    }
}

/// What a connection is doing, as seen from its reads, writes and requests.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

struct State {
    patience: Patience,
    phase: Phase,
    stalled_since: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Phase {
    /// Between requests.
    Idle { since: Instant },
    /// A head is on its way.
    Head { since: Instant },
    /// A request is being answered.
    Busy,
}

impl Activity {
    pub fn new(patience: Patience) -> Self {
        // A fresh connection is expected to begin at once.
        let phase = Phase::Head {
            since: Instant::now(),
        };
        Self(Arc::new(Mutex::new(State {
            patience,
            phase,
            stalled_since: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it, and the state is plain values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn has_read(&self) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Idle { .. }) {
            state.phase = Phase::Head {
                since: Instant::now(),
            };
        }
    }

    pub fn has_written(&self, progress: bool) {
        let mut state = self.state();
        if progress {
            state.stalled_since = None;
        } else if state.stalled_since.is_none() {
            state.stalled_since = Some(Instant::now());
        }
    }

    pub fn begin_request(&self) -> Busy {
        self.state().phase = Phase::Busy;
        Busy(self.clone())
    }

    fn deadline(&self) -> Option<(Instant, Loss)> {
        let state = self.state();
        if let Some(since) = state.stalled_since {
            return Some((since + state.patience.stalled, Loss::Stalled));
        }
        match state.phase {
            Phase::Idle { since } => Some((since + state.patience.idle, Loss::Idle)),
            Phase::Head { since } => Some((since + state.patience.head, Loss::SlowHead)),
            Phase::Busy => None,
        }
    }
}

/// A request in flight, until its answer's body is written or dropped.
pub(super) struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.state().phase = Phase::Idle {
            since: Instant::now(),
        };
    }
}

/// Says when patience is lost. Its timer is only moved when it must fire earlier, or has fired too early.
pub(super) struct Watch {
    activity: Activity,
    timer: Pin<Box<Sleep>>,
}

impl Watch {
    pub fn new(activity: Activity) -> Self {
        let first = activity
            .deadline()
            .map_or_else(Instant::now, |(deadline, _)| deadline);
        Self {
            activity,
            timer: Box::pin(tokio::time::sleep_until(first)),
        }
    }

    pub fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Loss> {
        loop {
            let Some((deadline, reason)) = self.activity.deadline() else {
                return Poll::Pending;
            };
            if deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(reason);
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}
