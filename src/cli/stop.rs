//! Being asked to stop: Ctrl-C (SIGINT) and SIGTERM.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::CliError;

/// The signals, from when it is made: one that comes while nobody waits is kept for the next who does.
pub(super) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Starts to listen; from now on the signals do not end the process by themselves.
    pub(super) fn listen() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(CliError::unavailable);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Returns when one of them has come.
    pub(super) async fn asked(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {} }
    }
}
