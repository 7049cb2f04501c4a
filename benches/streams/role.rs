//! The roles of child processes.

use serde::{Deserialize, Serialize};

use crate::{
    bare_tls,
    idle::{self, Idle},
    security::Security,
    server::{self, Setup},
};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Serves as one of the two sides.
    Serve(Setup),
    /// Connects idle proxies.
    Idle(Idle),
    /// Accepts TLS connections, and does nothing else.
    AcceptTls(Security),
}

impl Role {
    /// Runs the role, given as JSON, until the parent exits.
    pub(crate) fn run(text: &str) -> anyhow::Result<()> {
        match serde_json::from_str(text)? {
            Self::Serve(setup) => server::serve(setup),
            Self::Idle(proxies) => idle::run(&proxies),
            Self::AcceptTls(security) => bare_tls::accept_only(security),
        }
    }
}
