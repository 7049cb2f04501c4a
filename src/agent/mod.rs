//! The agent: registers one dataplane, probes its application, reports its health, and reconnects
//! after a loss.
//!
//! ```text
//!  Dataplane file --> DataplaneFile    or    Pod <-- downward API
//!                      |         |
//!                  dataplane   probes --> Monitor (one task per probe)
//!                      |                     | watch channel: the latest health
//!                      v                     v
//!    run:  backoff --> Session  == hello, reports, goodbye ==> server
//!             ^           |
//!             '-- end <---'
//! ```
//!
//! A [`Session`] needs neither a file nor probes: a load generator runs thousands of them over a few
//! channels, with health that it sets itself.

mod credentials;
mod dataplane_file;
mod end;
mod heartbeats;
mod monitor;
mod pod;
mod probe;
mod reports;
mod run;
#[cfg(test)]
mod scripted_server;
mod session;
mod threshold;

pub use dataplane_file::{Application, DataplaneFile, DataplaneFileError, FileInbound};
pub use end::SessionEnd;
pub use monitor::{InboundProbe, Monitor, Probes};
pub use pod::{Pod, PodInbound, PodInfo, PodInfoError};
pub use probe::{ProbeHandler, ProbeSpec};
pub use run::{AgentConfig, AgentError, AgentEvent, keep_session, observe_session, run};
pub use session::{REPORT_INTERVAL, Session, SessionEvent};
pub use threshold::Thresholds;

/// `agent_version` of this agent's hello.
const AGENT_VERSION: &str = concat!("headcount/", env!("CARGO_PKG_VERSION"));
