//! Keeps one server running: notices its unexpected end, logs it, starts it again after a growing pause, and carries out
//! orders meanwhile. Its state is visible at any time.
//!
//! ```text
//! Up ──ended──> Down ──pause──> Up      Up, Down ──Halt──> Halted ──Start──> Up      all ──ending──> gone
//! ```

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use super::error::StackError;
use super::running::Running;
use super::server::{ServerSpec, ServerState};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A server that cannot start is tried this often for as long as we live: what hinders it (a full disk, say) may go.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A server that ran this long is healthy: its next end starts again with the shortest pause.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// What to do with a server; the answer comes when it is done.
#[derive(Debug)]
pub(super) enum Order {
    Signal(Signal, oneshot::Sender<Result<(), StackError>>),
    Halt(oneshot::Sender<Result<(), StackError>>),
    Start(oneshot::Sender<Result<(), StackError>>),
}

/// How the stack ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Not yet.
    No,
    /// In order, with time to finish.
    Graceful,
    /// At once.
    Immediate,
}

/// The owner of one server.
pub(super) struct Keeper {
    pub spec: ServerSpec,
    pub state: watch::Sender<ServerState>,
    pub orders: mpsc::Receiver<Order>,
    pub ending: watch::Receiver<Ending>,
    attempt: u32,
}

enum Phase {
    Up(Box<Running>),
    Down { reason: String },
    Halted,
    Gone,
}

/// What interrupts a phase.
enum Event {
    Ended(String),
    Ordered(Order),
    PauseOver,
    Ending(Ending),
}

impl Keeper {
    pub fn new(
        spec: ServerSpec,
        state: watch::Sender<ServerState>,
        orders: mpsc::Receiver<Order>,
        ending: watch::Receiver<Ending>,
    ) -> Self {
        Self {
            spec,
            state,
            orders,
            ending,
            attempt: 0,
        }
    }

    /// Keeps the server, which is running, until the stack ends.
    pub async fn keep(mut self, running: Running) {
        self.state.send_replace(ServerState::Running { pid: running.pid });
        let mut phase = Phase::Up(Box::new(running));
        while !matches!(phase, Phase::Gone) {
            phase = match phase {
                Phase::Up(running) => self.up(*running).await,
                Phase::Down { reason } => self.down(reason).await,
                Phase::Halted => self.halted().await,
                Phase::Gone => Phase::Gone,
            };
        }
        self.state.send_replace(ServerState::Stopped);
    }

    async fn up(&mut self, mut running: Running) -> Phase {
        let since = Instant::now();
        loop {
            let event = tokio::select! {
                status = running.ended(&self.spec) => Event::Ended(status),
                event = next(&mut self.orders, &mut self.ending) => event,
            };
            match event {
                Event::Ended(reason) => {
                    tracing::error!(server = %self.spec.kind, reason, log = %self.spec.log.display(), "ended unexpectedly");
                    self.attempt = if since.elapsed() > HEALTHY_AFTER {
                        0
                    } else {
                        self.attempt
                    };
                    return Phase::Down { reason };
                }
                Event::Ordered(Order::Signal(signal, reply)) => {
                    let sent = running.signal(signal);
                    answer(
                        reply,
                        if sent {
                            Ok(())
                        } else {
                            Err(StackError::NotRunning(self.spec.kind))
                        },
                    );
                }
                Event::Ordered(Order::Start(reply)) => answer(reply, Ok(())),
                Event::Ordered(Order::Halt(reply)) => {
                    running.stop(&self.spec).await;
                    return self.halt(reply);
                }
                Event::Ending(Ending::Immediate) => {
                    running.end_at_once(&self.spec).await;
                    return Phase::Gone;
                }
                Event::Ending(_) => {
                    running.stop(&self.spec).await;
                    return Phase::Gone;
                }
                Event::PauseOver => {}
            }
        }
    }

    async fn down(&mut self, reason: String) -> Phase {
        self.attempt += 1;
        self.state.send_replace(ServerState::Restarting {
            attempt: self.attempt,
            reason,
        });
        let pause = pause_before(self.attempt);
        let event = tokio::select! {
            () = sleep(pause) => Event::PauseOver,
            event = next(&mut self.orders, &mut self.ending) => event,
        };
        match event {
            Event::PauseOver | Event::Ended(_) => self.start_again().await,
            other => self.while_not_up(other).await,
        }
    }

    async fn halted(&mut self) -> Phase {
        let event = next(&mut self.orders, &mut self.ending).await;
        self.while_not_up(event).await
    }

    async fn while_not_up(&mut self, event: Event) -> Phase {
        match event {
            Event::Ordered(Order::Halt(reply)) => self.halt(reply),
            Event::Ordered(Order::Start(reply)) => {
                self.attempt = 0;
                match self.try_start().await {
                    Ok(running) => {
                        answer(reply, Ok(()));
                        Phase::Up(Box::new(running))
                    }
                    Err(e) => {
                        let reason = e.to_string();
                        answer(reply, Err(e));
                        Phase::Down { reason }
                    }
                }
            }
            Event::Ordered(Order::Signal(_, reply)) => {
                answer(reply, Err(StackError::NotRunning(self.spec.kind)));
                self.same_phase()
            }
            Event::Ending(_) => Phase::Gone,
            Event::PauseOver | Event::Ended(_) => self.same_phase(),
        }
    }

    /// Halted stays halted; a pause before a restart begins anew.
    fn same_phase(&mut self) -> Phase {
        match &*self.state.borrow() {
            ServerState::Restarting { reason, .. } => Phase::Down {
                reason: reason.clone(),
            },
            _ => Phase::Halted,
        }
    }

    fn halt(&mut self, reply: oneshot::Sender<Result<(), StackError>>) -> Phase {
        self.attempt = 0;
        self.state.send_replace(ServerState::Stopped);
        answer(reply, Ok(()));
        Phase::Halted
    }

    async fn start_again(&mut self) -> Phase {
        match self.try_start().await {
            Ok(running) => {
                tracing::info!(server = %self.spec.kind, pid = running.pid, attempt = self.attempt, "runs again");
                Phase::Up(Box::new(running))
            }
            Err(StackError::Stopped) => Phase::Gone,
            Err(e) => {
                tracing::error!(server = %self.spec.kind, attempt = self.attempt, error = %e, "could not be started again");
                Phase::Down {
                    reason: e.to_string(),
                }
            }
        }
    }

    /// Launches the server and waits until it answers, unless the stack ends meanwhile.
    async fn try_start(&mut self) -> Result<Running, StackError> {
        self.state.send_replace(ServerState::Starting);
        let running = bring_up(&self.spec, &mut self.ending).await?;
        self.state.send_replace(ServerState::Running { pid: running.pid });
        Ok(running)
    }
}

/// Launches a server and waits until it answers. Nothing is left running when this fails, or when the stack ends first.
pub(super) async fn bring_up(
    spec: &ServerSpec,
    ending: &mut watch::Receiver<Ending>,
) -> Result<Running, StackError> {
    let mut running = Running::launch(spec)?;
    let ready = tokio::select! {
        ready = running.until_ready(spec) => ready,
        _ = ended(ending) => Err(StackError::Stopped),
    };
    match ready {
        Ok(()) => Ok(running),
        Err(e) => {
            running.end_at_once(spec).await;
            Err(e)
        }
    }
}

/// The next order, or the end of the stack. Orders stop coming when the stack's handle goes; the end follows then.
async fn next(orders: &mut mpsc::Receiver<Order>, ending: &mut watch::Receiver<Ending>) -> Event {
    tokio::select! {
        how = ended(ending) => Event::Ending(how),
        Some(order) = orders.recv() => Event::Ordered(order),
    }
}

/// Waits for the stack's end. A handle that vanished without a word ends it at once.
async fn ended(ending: &mut watch::Receiver<Ending>) -> Ending {
    ending
        .wait_for(|how| *how != Ending::No)
        .await
        .map_or(Ending::Immediate, |how| *how)
}

fn answer(reply: oneshot::Sender<Result<(), StackError>>, result: Result<(), StackError>) {
    // Whoever asked may have given up waiting; the order was carried out all the same.
    let _nobody_waits = reply.send(result);
}

fn pause_before(attempt: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1 << attempt.saturating_sub(1).min(10))
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let pauses: Vec<u128> = (1..=9).map(|attempt| pause_before(attempt).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(pause_before(u32::MAX), LONGEST_PAUSE);
    }
}
