//! The proxy's side: the agent registers one dataplane, probes what is behind
//! it, reports its health, and comes back when the server was lost.
//!
//! ```text
//!  Dataplane file -> dataplane_file (document, duration)
//!                        |        \
//!                        |         probes -> monitor (probe, threshold)
//!                        |                      | watch: the newest health
//!                        v                      v
//!   run: backoff -> session (reports) == hello, reports, goodbye ==> server
//!          ^            |
//!          '--- end <---'
//! ```
//!
//! A [`Session`] needs neither a file nor probes: a load simulator runs
//! thousands of them over few channels, with health of its own making.

mod backoff;
mod dataplane_file;
mod document;
mod duration;
mod end;
mod endpoint;
mod monitor;
mod probe;
mod reports;
mod session;
mod threshold;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    transport::{self, Channel, Endpoint},
};
use tracing::{info, warn};

use crate::{
    model::{Dataplane, DataplaneKey},
    proto::Welcome,
};
use backoff::Backoff;

pub use dataplane_file::{DataplaneFile, DataplaneFileError};
pub use end::SessionEnd;
pub use endpoint::endpoint;
pub use monitor::{Monitor, Probes};
pub use probe::{Check, ProbeSpec};
pub use session::{Session, SessionEvent};
pub use threshold::Thresholds;

/// An attempt that lasted this long starts the backoff over. A welcome and an
/// ack would not do: a server that dies of its load a few seconds after each
/// start would be met by every proxy at once, again and again.
const SETTLED: Duration = Duration::from_secs(30);

/// What the agent needs to know.
#[derive(Debug)]
pub struct AgentConfig {
    /// The server, as [`endpoint`] makes it.
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
/// goodbye and returns. It returns an error only where another attempt could
/// do no good.
pub async fn run(config: AgentConfig, shutdown: CancellationToken) -> Result<(), AgentError> {
    let AgentConfig {
        server,
        dataplane,
        probes,
    } = config;
    let connect = move || {
        let server = server.clone();
        async move { server.connect().await }
    };
    keep_session(connect, dataplane, probes, shutdown).await
}

/// [`run`], over whatever connects.
async fn keep_session<C, F>(
    connect: C,
    dataplane: Dataplane,
    probes: Probes,
    shutdown: CancellationToken,
) -> Result<(), AgentError>
where
    C: Fn() -> F,
    F: Future<Output = Result<Channel, transport::Error>>,
{
    let dataplane = Arc::new(dataplane);
    let monitor = Monitor::start(probes);
    let mut backoff = Backoff::new(fastrand::Rng::new());
    loop {
        let began = Instant::now();
        let attempt = async {
            let channel = tokio::select! {
                connected = connect() => connected.map_err(|error| Status::unavailable(causes(&error)))?,
                () = shutdown.cancelled() => return Err(Status::cancelled("shut down while connecting")),
            };
            let session = Session {
                channel,
                dataplane: dataplane.clone(),
                health: monitor.health(),
                leave: shutdown.clone(),
            };
            Ok(session.run(log).await)
        };
        let end = attempt.await.unwrap_or_else(SessionEnd::from);
        let key = || dataplane.key.clone();
        match &end {
            SessionEnd::Goodbye => {
                info!("said goodbye");
                return Ok(());
            }
            _ if shutdown.is_cancelled() => break,
            SessionEnd::Superseded(status) => {
                return Err(AgentError::Superseded {
                    dataplane: key(),
                    message: status.message().to_owned(),
                });
            }
            SessionEnd::Refused(status) => {
                return Err(AgentError::Refused {
                    dataplane: key(),
                    message: status.message().to_owned(),
                });
            }
            SessionEnd::Drained { .. } | SessionEnd::Lost(_) => {}
        }
        if began.elapsed() >= SETTLED {
            backoff.reset();
        }
        let next_attempt_in = backoff.next(end.retry_after());
        match end {
            SessionEnd::Lost(status) => {
                let code = status.code();
                warn!(?code, reason = status.message(), ?next_attempt_in, "session lost");
            }
            SessionEnd::Drained { reason, .. } => info!(reason, ?next_attempt_in, "session drained"),
            _ => {}
        }
        tokio::select! {
            () = time::sleep(next_attempt_in) => {}
            () = shutdown.cancelled() => break,
        }
    }
    // The server keeps the registration for its retention period.
    warn!("left without a goodbye: the server could not be told");
    Ok(())
}

/// Changes of state are logged; acks are not.
fn log(event: SessionEvent<'_>) {
    let SessionEvent::Welcomed(Welcome {
        session_id,
        workload,
        warnings,
    }) = event
    else {
        return;
    };
    let workload = workload.as_ref().map(|workload| workload.name.as_str());
    info!(session_id, workload, "connected");
    for warning in warnings {
        warn!(session_id, warning, "the server warns");
    }
}

/// An error and what it came from: tonic's own text is only "transport error".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
