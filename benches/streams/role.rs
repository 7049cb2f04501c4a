//! What a process that a benchmark has started is there for.

use serde::{Deserialize, Serialize};

use crate::{
    idle::{self, Idle},
    server::{self, Setup},
};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Be one of the sides.
    Serve(Setup),
    /// Be proxies that say nothing.
    Idle(Idle),
}

impl Role {
    /// Plays the role until the benchmark ends.
    pub(crate) fn play(text: &str) -> anyhow::Result<()> {
        match serde_json::from_str(text)? {
            Self::Serve(setup) => server::serve(setup),
            Self::Idle(crowd) => idle::idle(&crowd),
        }
    }
}
