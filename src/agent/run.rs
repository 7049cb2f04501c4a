//! Keeps one dataplane in session for as long as it lives.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    transport::{self, Channel, Endpoint},
};
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    end::SessionEnd,
    monitor::{Monitor, Probes},
    session::{Session, SessionEvent},
};
use crate::{
    model::{Attempt, Dataplane, DataplaneKey, Health},
    net::backoff::{Backoff, Policy},
    proto::Welcome,
};

/// An attempt that lasted this long starts the backoff over. A welcome and an
/// ack would not do: a server that dies of its load a few seconds after each
/// start would be met by every proxy at once, again and again.
const SETTLED: Duration = Duration::from_secs(30);

/// What the agent needs to know.
#[derive(Debug)]
pub struct AgentConfig {
    /// The server, as [`endpoint`](fn@super::endpoint) makes it.
    pub server: Endpoint,
    /// Who it speaks for.
    pub dataplane: Dataplane,
    /// How to find out its health.
    pub probes: Probes,
}

/// Why an agent gave up.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Another agent speaks for the same dataplane.
    #[error(
        "a newer session of the dataplane {dataplane} took over: run one agent for each dataplane ({message})"
    )]
    Superseded {
        /// Whose session it was.
        dataplane: DataplaneKey,
        /// The server's words.
        message: String,
    },
    /// The server refuses the dataplane, and would do so again.
    #[error("the server refused the dataplane {dataplane}: {message}")]
    Refused {
        /// Who was refused.
        dataplane: DataplaneKey,
        /// The server's words.
        message: String,
    },
}

/// Keeps a session of the dataplane until `shutdown` is cancelled; then says
/// goodbye, if a session is open, and returns, within 2 s. It returns an error
/// only where another attempt could do no good.
pub async fn run(config: AgentConfig, shutdown: CancellationToken) -> Result<(), AgentError> {
    let AgentConfig { server, dataplane, probes } = config;
    let connect = move || {
        let server = server.clone();
        async move { server.connect().await }
    };
    let monitor = Monitor::start(probes);
    keep_session(connect, dataplane, monitor.health(), shutdown).await?;
    Ok(())
}

/// [`run`], over whatever connects and with health of whatever making. Returns
/// how the last session ended: a goodbye, if the server heard one.
pub async fn keep_session<C, F>(
    connect: C,
    dataplane: Dataplane,
    health: watch::Receiver<Health>,
    shutdown: CancellationToken,
) -> Result<SessionEnd, AgentError>
where
    C: Fn() -> F,
    F: Future<Output = Result<Channel, transport::Error>>,
{
    let dataplane = Arc::new(dataplane);
    let mut backoff = Backoff::new(Policy::Dataplane);
    // Not of the backoff's chance: two agents that do the same must not be taken
    // for one.
    let mut attempt = Attempt { instance: Uuid::new_v4().as_u64_pair().0, number: 0 };
    loop {
        let began = Instant::now();
        attempt = attempt.next();
        let end = try_once(connect(), dataplane.clone(), attempt, health.clone(), shutdown.clone()).await;
        if shutdown.is_cancelled() {
            log_farewell(&end);
            return Ok(end);
        }
        give_up(&end, &dataplane.key)?;
        if began.elapsed() >= SETTLED {
            backoff.reset();
        }
        let next_attempt_in = backoff.next(end.retry_after());
        log_end(&end, next_attempt_in);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {
                log_farewell(&end);
                return Ok(end);
            }
            () = time::sleep(next_attempt_in) => {}
        }
    }
}

/// Connects and holds one session.
async fn try_once(
    connect: impl Future<Output = Result<Channel, transport::Error>>,
    dataplane: Arc<Dataplane>,
    attempt: Attempt,
    health: watch::Receiver<Health>,
    leave: CancellationToken,
) -> SessionEnd {
    let channel = tokio::select! {
        biased;
        () = leave.cancelled() => return SessionEnd::Lost(Status::cancelled("shut down while connecting")),
        connected = connect => match connected {
            Ok(channel) => channel,
            // tonic's own text is only "transport error"; this has the causes too.
            Err(error) => {
                return SessionEnd::Lost(Status::unavailable(format!("{:#}", anyhow::Error::from(error))));
            }
        },
    };
    Session { channel, dataplane, attempt, health, leave }.run(log_event).await
}

/// An error if another attempt could do no good.
fn give_up(end: &SessionEnd, dataplane: &DataplaneKey) -> Result<(), AgentError> {
    let dataplane = dataplane.clone();
    match end {
        SessionEnd::Superseded(status) => {
            Err(AgentError::Superseded { dataplane, message: status.message().to_owned() })
        }
        SessionEnd::Refused(status) => {
            Err(AgentError::Refused { dataplane, message: status.message().to_owned() })
        }
        SessionEnd::Goodbye | SessionEnd::Drained { .. } | SessionEnd::Lost(_) => Ok(()),
    }
}

/// Changes of state are logged; acks are not.
fn log_event(event: SessionEvent<'_>) {
    let SessionEvent::Welcomed(Welcome { session_id, workload, warnings }) = event else {
        return;
    };
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
        SessionEnd::Goodbye | SessionEnd::Superseded(_) | SessionEnd::Refused(_) => {}
    }
}

fn log_farewell(end: &SessionEnd) {
    if matches!(end, SessionEnd::Goodbye) {
        info!("said goodbye");
    } else {
        // The server keeps the registration for its retention period.
        warn!(?end, "left without a goodbye");
    }
}

#[cfg(test)]
mod tests;
