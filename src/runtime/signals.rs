//! The signals that the process handles.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

/// The signals of `serve`, `agent` and `simulate`.
///
/// SIGTERM, which orchestrators send, SIGINT, which Ctrl-C sends, and SIGQUIT end the process
/// gracefully. SIGHUP, SIGUSR1 and SIGUSR2, which would end a process that does not handle them, are
/// logged and change nothing: files that may change are read again without a signal. SIGXFSZ, which
/// would end the process when a file reaches the limit of its size (`ulimit -f`), is handled by
/// doing nothing, so that the write fails instead.
#[derive(Debug)]
pub struct ShutdownSignals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl ShutdownSignals {
    /// Installs the handlers; from now on these signals no longer end the process
    /// by themselves.
    ///
    /// # Errors
    ///
    /// If a handler can't be installed.
    pub fn install() -> io::Result<Self> {
        // The handler remains installed when the stream is dropped.
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next signal that ends the process. Each call waits for another one.
    pub async fn recv(&mut self) {
        loop {
            let ignored = tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.quit.recv() => return,
                _ = self.hangup.recv() => "SIGHUP",
                _ = self.user1.recv() => "SIGUSR1",
                _ = self.user2.recv() => "SIGUSR2",
            };
            info!(signal = ignored, "ignored: nothing needs a signal to be reloaded");
        }
    }
}
