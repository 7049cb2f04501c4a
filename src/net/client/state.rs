//! What the client knows about the connection of a channel.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::problem::ConnectProblem;

/// How long a call waits for its own error after its connection was closed.
const STRANDED: Duration = Duration::from_secs(1);

/// The state of a channel's newest connection, shared by its connector and its calls.
#[derive(Debug, Clone)]
pub(super) struct ConnectionState(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// Why the newest connection failed, until another one works. A call on a connection that has failed
    /// may only get to know that it is closed.
    problem: Option<ConnectProblem>,
}

impl Default for ConnectionState {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }
}

impl ConnectionState {
    /// A connection is being opened.
    pub(super) fn opening(&self) {
        self.0.send_modify(|state| state.closed = false);
    }

    pub(super) fn closed(&self) {
        self.0.send_modify(|state| state.closed = true);
    }

    pub(super) fn problem(&self) -> Option<ConnectProblem> {
        self.0.borrow().problem.clone()
    }

    pub(super) fn set_problem(&self, problem: Option<ConnectProblem>) {
        self.0.send_modify(|state| state.problem = problem);
    }

    /// Resolves when the connection has been closed for a second and no other one is being opened: a call
    /// that is still waiting then will not end. hyper may queue a call for a connection at the moment when
    /// it closes, and that call is only dropped with the next one.
    pub(super) async fn stranded(&self) -> ConnectProblem {
        let mut state = self.0.subscribe();
        loop {
            // The sender is in `self`, so the channel is open.
            drop(state.wait_for(|state| state.closed).await);
            if timeout(STRANDED, state.wait_for(|state| !state.closed)).await.is_err() {
                return self.problem().unwrap_or_else(|| {
                    ConnectProblem::new("the server closed the connection without an answer", "try again")
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_is_stranded_a_second_after_the_last_close() {
        let state = ConnectionState::default();
        state.set_problem(Some(ConnectProblem::new("reset", "check")));
        let mut stranded = Box::pin(state.stranded());
        let wait = Duration::from_millis(999);
        assert!(timeout(wait, &mut stranded).await.is_err(), "no connection was opened yet");
        state.closed();
        assert!(timeout(wait, &mut stranded).await.is_err());
        state.opening();
        assert!(timeout(2 * STRANDED, &mut stranded).await.is_err(), "another connection is open");
        state.closed();
        assert!(timeout(wait, &mut stranded).await.is_err());
        assert_eq!(timeout(wait, stranded).await.unwrap().problem, "reset");
    }
}
