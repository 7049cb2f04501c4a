//! When a client must have sent the headers of its next request.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

/// Longest times that a connection may wait for its client.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitLimits {
    /// From the first byte of a request to the end of its headers. For the first request of a
    /// connection, from the accepted connection, so it includes a TLS handshake.
    pub(super) headers: Duration,
    /// From the end of a response to the first byte of the next request.
    pub(super) idle: Duration,
}

/// What a connection waits for. hyper has one timeout for a request's headers and for an idle
/// connection; a client that is allowed to be idle for minutes may not take minutes to send headers.
#[derive(Debug, Clone)]
pub(super) struct RequestClock {
    limits: WaitLimits,
    phase: Arc<Mutex<Phase>>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Headers { deadline: Instant },
    Responding,
    Idle { deadline: Instant },
}

impl RequestClock {
    /// Starts when the connection is accepted.
    pub(super) fn start(limits: WaitLimits) -> Self {
        let phase = Phase::Headers { deadline: Instant::now() + limits.headers };
        Self { limits, phase: Arc::new(Mutex::new(phase)) }
    }

    /// Records that the headers are complete. The response has been sent when the guard is dropped.
    pub(super) fn request(&self) -> Responding {
        *self.phase.lock() = Phase::Responding;
        Responding(self.clone())
    }

    /// When the connection must be closed; none while it waits for no request.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match *self.phase.lock() {
            Phase::Headers { deadline } | Phase::Idle { deadline } => Some(deadline),
            Phase::Responding => None,
        }
    }

    pub(super) fn received(&self) {
        let mut phase = self.phase.lock();
        if let Phase::Idle { .. } = *phase {
            *phase = Phase::Headers { deadline: Instant::now() + self.limits.headers };
        }
    }
}

/// A request whose response has not been sent completely.
#[derive(Debug)]
pub(super) struct Responding(RequestClock);

impl Drop for Responding {
    fn drop(&mut self) {
        *self.0.phase.lock() = Phase::Idle { deadline: Instant::now() + self.0.limits.idle };
    }
}

/// The timer of a [`RequestClock`].
#[derive(Debug)]
pub(super) struct RequestTimer {
    clock: RequestClock,
    sleep: Pin<Box<Sleep>>,
}

impl RequestTimer {
    pub(super) fn new(clock: RequestClock) -> Self {
        let now = Instant::now();
        Self { sleep: Box::pin(sleep_until(clock.deadline().unwrap_or(now))), clock }
    }

    /// Resolves at the clock's deadline. Must be polled after whatever changes the phase.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.clock.deadline() else { return Poll::Pending };
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        self.sleep.as_mut().poll(cx)
    }
}
