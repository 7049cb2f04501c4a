//! What the client knows about the connections of a channel.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::problem::ConnectProblem;

/// How long a call waits for its own error after its connection was closed.
const STRANDED: Duration = Duration::from_secs(1);

/// The state of a channel's connections, shared by its connector and its calls. A channel opens another one
/// while calls of the former still end, such as those of a server that drains.
#[derive(Debug, Clone)]
pub(super) struct ConnectionState(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    /// Connections that are open or being opened; none before the first one.
    open: Option<usize>,
    /// Why the newest connection failed, until another one works. A call on a connection that has failed
    /// may only get to know that it is closed.
    problem: Option<ConnectProblem>,
}

/// A connection that is open or being opened.
#[derive(Debug)]
pub(super) struct OpenConnection(ConnectionState);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.open = state.open.map(|open| open.saturating_sub(1)));
    }
}

impl State {
    /// Whether there were connections, and none is left.
    fn is_closed(&self) -> bool {
        self.open == Some(0)
    }
}

impl Default for ConnectionState {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }
}

impl ConnectionState {
    /// A connection is being opened. It counts until the guard is dropped.
    pub(super) fn opening(&self) -> OpenConnection {
        self.0.send_modify(|state| *state.open.get_or_insert_default() += 1);
        OpenConnection(self.clone())
    }

    pub(super) fn problem(&self) -> Option<ConnectProblem> {
        self.0.borrow().problem.clone()
    }

    pub(super) fn set_problem(&self, problem: Option<ConnectProblem>) {
        self.0.send_modify(|state| state.problem = problem);
    }

    /// Resolves when all connections have been closed for a second and no other one is being opened: a call
    /// that is still waiting then will not end. hyper may queue a call for a connection at the moment when
    /// it closes, and that call is only dropped with the next one.
    pub(super) async fn stranded(&self) -> ConnectProblem {
        let mut state = self.0.subscribe();
        loop {
            // The sender is in `self`, so the channel is open.
            drop(state.wait_for(State::is_closed).await);
            if timeout(STRANDED, state.wait_for(|state| !state.is_closed())).await.is_err() {
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
        drop(state.opening());
        assert!(timeout(wait, &mut stranded).await.is_err());
        let second = state.opening();
        assert!(timeout(2 * STRANDED, &mut stranded).await.is_err(), "another connection is open");
        drop(second);
        assert!(timeout(wait, &mut stranded).await.is_err());
        assert_eq!(timeout(wait, stranded).await.unwrap().problem, "reset");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_not_stranded_by_the_end_of_an_older_connection() {
        let state = ConnectionState::default();
        let (older, newer) = (state.opening(), state.opening());
        let mut stranded = Box::pin(state.stranded());
        drop(older);
        assert!(timeout(2 * STRANDED, &mut stranded).await.is_err());
        drop(newer);
        assert!(timeout(2 * STRANDED, stranded).await.is_ok());
    }
}
