//! The agent's main loop: keeps a session of one dataplane open until shutdown.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{
    end::SessionEnd,
    monitor::{Monitor, Probes},
    session::{Session, SessionEvent},
};
use crate::{
    model::{Attempt, Dataplane, DataplaneKey, Health},
    net::{
        backoff::{Backoff, Policy},
        client::{ConnectProblem, Connection, ServerEndpoint},
    },
    proto::Welcome,
};

/// An attempt that lasted this long resets the backoff. A welcome or an ack does not reset it: if a server
/// fails under load within seconds of each start, all dataplanes would reconnect to it without delay every
/// time.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Configuration of an agent.
#[derive(Debug)]
pub struct AgentConfig {
    /// The server, with the agent's credentials.
    pub server: ServerEndpoint,
    /// The dataplane that the agent registers.
    pub dataplane: Dataplane,
    /// Probes of its health.
    pub probes: Probes,
}

/// Why an agent ended: another attempt would fail in the same way.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Another agent or an Envoy registered the same dataplane.
    #[error(
        "another process with the identity of dataplane {dataplane} took over its session: stop that agent or Envoy, or give each proxy a name of its own ({message})"
    )]
    Superseded {
        /// The dataplane.
        dataplane: DataplaneKey,
        /// Message of the server's status.
        message: String,
    },
    /// The server rejects the dataplane.
    #[error("the server refused the dataplane {dataplane}: {message}")]
    Refused {
        /// The dataplane.
        dataplane: DataplaneKey,
        /// Message of the server's status.
        message: String,
    },
}

/// Keeps a session of the dataplane open until `shutdown` is cancelled. Then it sends a goodbye, if a
/// session is open, and returns within 2 s.
///
/// # Errors
///
/// If another session took over the dataplane, or the server rejects it. All other losses are retried, also
/// if the server rejects the credential.
pub async fn run(config: AgentConfig, shutdown: CancellationToken) -> Result<(), AgentError> {
    let AgentConfig { server, dataplane, probes } = config;
    let connect = move || {
        let server = server.clone();
        async move { server.connect().await }
    };
    let monitor = Monitor::start(probes, &dataplane);
    keep_session(connect, dataplane, monitor.health(), shutdown).await?;
    Ok(())
}

/// Like [`run`], with the caller's own connections and health. Returns how the last session ended.
///
/// # Errors
///
/// As [`run`].
pub async fn keep_session<C, F, T, E>(
    connect: C,
    dataplane: Dataplane,
    health: watch::Receiver<Health>,
    shutdown: CancellationToken,
) -> Result<SessionEnd, AgentError>
where
    C: Fn() -> F,
    F: Future<Output = Result<T, E>>,
    T: Into<Connection>,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut log = EventLog::default();
    let observe = |event: AgentEvent<'_>| log.event(event);
    let ended = observe_session(connect, Arc::new(dataplane), health, shutdown, observe).await;
    ended.inspect(log_shutdown)
}

/// An event of an agent, for logs and measurements.
#[derive(Debug, Clone, Copy)]
pub enum AgentEvent<'a> {
    /// An event within a session.
    Session(SessionEvent<'a>),
    /// An attempt or a session ended, and another attempt follows.
    Retry {
        /// How it ended.
        end: &'a SessionEnd,
        /// When the next attempt starts.
        next_attempt_in: Duration,
    },
}

/// Like [`keep_session`], but calls `observe` instead of writing a log. `observe` must not block.
///
/// # Errors
///
/// As [`run`].
pub async fn observe_session<C, F, T, E>(
    connect: C,
    dataplane: Arc<Dataplane>,
    health: watch::Receiver<Health>,
    shutdown: CancellationToken,
    mut observe: impl FnMut(AgentEvent<'_>),
) -> Result<SessionEnd, AgentError>
where
    C: Fn() -> F,
    F: Future<Output = Result<T, E>>,
    T: Into<Connection>,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut backoff = Backoff::new(Policy::Dataplane);
    // A UUID instead of a number from `fastrand`: agents of a simulation that share a seed need different
    // instances.
    let mut attempt = Attempt { instance: Uuid::new_v4().as_u64_pair().0, number: 0 };
    loop {
        let began = Instant::now();
        attempt = attempt.next();
        let session_observer = |event: SessionEvent<'_>| observe(AgentEvent::Session(event));
        let (health, leave) = (health.clone(), shutdown.clone());
        let end = try_once(connect(), dataplane.clone(), attempt, health, leave, session_observer).await;
        if shutdown.is_cancelled() {
            return Ok(end);
        }
        check_retryable(&end, &dataplane.key)?;
        if began.elapsed() >= STABLE_AFTER {
            backoff.reset();
        }
        let next_attempt_in = backoff.next(end.retry_after());
        observe(AgentEvent::Retry { end: &end, next_attempt_in });
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(end),
            () = time::sleep(next_attempt_in) => {}
        }
    }
}

/// Connects and runs one session.
async fn try_once<T: Into<Connection>, E: std::error::Error + Send + Sync + 'static>(
    connect: impl Future<Output = Result<T, E>>,
    dataplane: Arc<Dataplane>,
    attempt: Attempt,
    health: watch::Receiver<Health>,
    leave: CancellationToken,
    observe: impl FnMut(SessionEvent<'_>),
) -> SessionEnd {
    let connection = tokio::select! {
        biased;
        () = leave.cancelled() => return SessionEnd::Lost(Status::cancelled("shut down while connecting")),
        connected = connect => match connected {
            Ok(connection) => connection.into(),
            Err(error) => return SessionEnd::Lost(Status::unavailable(connect_error(error))),
        },
    };
    Session { connection, dataplane, attempt, health, leave }.run(observe).await
}

fn connect_error(error: impl std::error::Error + Send + Sync + 'static) -> String {
    match ConnectProblem::of(&error) {
        Some(problem) => problem.to_string(),
        // tonic prints only "transport error"; anyhow's format includes the causes.
        None => format!("{:#}", anyhow::Error::from(error)),
    }
}

/// Returns an error if another attempt would fail in the same way.
fn check_retryable(end: &SessionEnd, dataplane: &DataplaneKey) -> Result<(), AgentError> {
    let dataplane = dataplane.clone();
    match end {
        SessionEnd::Superseded(status) => {
            Err(AgentError::Superseded { dataplane, message: status.message().to_owned() })
        }
        SessionEnd::Refused(status) => {
            Err(AgentError::Refused { dataplane, message: status.message().to_owned() })
        }
        SessionEnd::Goodbye | SessionEnd::Drained { .. } | SessionEnd::Denied(_) | SessionEnd::Lost(_) => {
            Ok(())
        }
    }
}

/// Logs the start and the end of each session. Acks are not logged.
#[derive(Default)]
struct EventLog {
    /// Why the server denied access at the previous attempt. The same reason is logged once.
    denied: Option<String>,
}

impl EventLog {
    fn event(&mut self, event: AgentEvent<'_>) {
        match event {
            AgentEvent::Session(SessionEvent::Welcomed(welcome)) => {
                self.denied = None;
                log_welcome(welcome);
            }
            AgentEvent::Session(SessionEvent::Acked { .. }) => {}
            AgentEvent::Retry { end: SessionEnd::Denied(status), next_attempt_in } => {
                self.log_denied(status, next_attempt_in);
            }
            AgentEvent::Retry { end, next_attempt_in } => log_end(end, next_attempt_in),
        }
    }

    fn log_denied(&mut self, status: &Status, next_attempt_in: Duration) {
        let (code, reason) = (status.code(), status.message());
        if self.denied.as_deref() == Some(reason) {
            debug!(?code, reason, ?next_attempt_in, "access is still denied");
        } else {
            warn!(
                ?code,
                reason, "the server denies access; each attempt reads the token and certificate files again"
            );
            self.denied = Some(reason.to_owned());
        }
    }
}

fn log_welcome(welcome: &Welcome) {
    let Welcome { session_id, workload, warnings, .. } = welcome;
    let workload = workload.as_ref().map(|workload| workload.name.as_str());
    info!(session_id, workload, "connected");
    for warning in warnings {
        warn!(session_id, warning, "the server warns");
    }
}

fn log_end(end: &SessionEnd, next_attempt_in: Duration) {
    match end {
        SessionEnd::Drained { reason, .. } => info!(reason, ?next_attempt_in, "session drained"),
        SessionEnd::Lost(status) => {
            let code = status.code();
            warn!(?code, reason = status.message(), ?next_attempt_in, "session lost");
        }
        SessionEnd::Goodbye | SessionEnd::Superseded(_) | SessionEnd::Refused(_) | SessionEnd::Denied(_) => {}
    }
}

fn log_shutdown(end: &SessionEnd) {
    if matches!(end, SessionEnd::Goodbye) {
        info!("said goodbye");
    } else {
        // The server retains the registration for its retention period.
        warn!(reason = %end, "shut down without a goodbye");
    }
}

#[cfg(test)]
mod tests;
