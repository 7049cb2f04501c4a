//! The proxy's side: the agent registers one dataplane, probes what is behind
//! it, reports its health, and comes back when the server was lost.
//!
//! ```text
//!  Dataplane file --> DataplaneFile    or    Pod <-- downward API
//!                      |         |
//!                  dataplane   probes --> Monitor (one task per probe)
//!                      |                     | watch: the newest health
//!                      v                     v
//!    run:  backoff --> Session  == hello, reports, goodbye ==> server
//!             ^           |
//!             '-- end <---'
//! ```
//!
//! A [`Session`] needs neither a file nor probes: a load simulator runs
//! thousands of them over few channels, with health of its own making.

mod dataplane_file;
mod end;
mod endpoint;
#[cfg(test)]
mod fake;
mod file;
mod monitor;
mod pod;
mod probe;
mod reports;
mod run;
mod session;
mod threshold;

pub use dataplane_file::{Application, DataplaneFile, DataplaneFileError};
pub use end::SessionEnd;
pub use endpoint::endpoint;
pub use monitor::{Monitor, Probes};
pub use pod::{Pod, PodInbound, PodInfo, PodInfoError};
pub use probe::{Check, ProbeSpec};
pub use run::{AgentConfig, AgentError, keep_session, run};
pub use session::{STATEMENT_EVERY, Session, SessionEvent};
pub use threshold::Thresholds;

/// What the agent says of itself in its hello.
const AGENT_VERSION: &str = concat!("headcount/", env!("CARGO_PKG_VERSION"));
