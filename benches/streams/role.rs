//! The roles of child processes.

use serde::{Deserialize, Serialize};

use crate::{
    idle::{self, Idle},
    server::{self, Setup},
};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Serves as one of the two sides.
    Serve(Setup),
    /// Connects idle proxies.
    Idle(Idle),
}

impl Role {
    /// Runs the role, given as JSON, until the parent exits.
    pub(crate) fn run(text: &str) -> anyhow::Result<()> {
        match serde_json::from_str(text)? {
            Self::Serve(setup) => server::serve(setup),
            Self::Idle(proxies) => idle::run(&proxies),
        }
    }
}
