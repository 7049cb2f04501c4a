//! What lies between a host and the server, in plain data: its link, and its
//! connections.

use std::time::Duration;

use super::{
    Host,
    pipe::{End, Pipe, Way, wake},
};

/// The two ends of a connection; a pipe is named by the end it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Host,
    Server,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Host => Self::Server,
            Self::Server => Self::Host,
        }
    }
}

/// How a machine goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process dies; its kernel resets the connections.
    Killed,
    /// The power fails: nobody is told.
    Silent,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) up: Way,
    pub(super) down: Way,
    pub(super) usual_latency: Duration,
    pub(super) latency: Duration,
    pub(super) connections: u64,
}

/// A connection's two pipes and ends.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) host: Host,
    pub(super) to_host: Pipe,
    pub(super) to_server: Pipe,
    /// Ends that are still there; one that crashed or was closed is not.
    pub(super) host_lives: bool,
    pub(super) server_lives: bool,
    /// Ends whose socket has not been dropped.
    pub(super) sockets: u8,
}

impl Pair {
    pub(super) fn pipe_to(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Host => &mut self.to_host,
            Side::Server => &mut self.to_server,
        }
    }

    pub(super) fn lives(&mut self, side: Side) -> &mut bool {
        match side {
            Side::Host => &mut self.host_lives,
            Side::Server => &mut self.server_lives,
        }
    }

    /// An end goes down with its machine. Its tasks find the connection reset.
    pub(super) fn crash(&mut self, side: Side, crash: Crash, way_out: Way) {
        if !std::mem::take(self.lives(side)) {
            return;
        }
        let out = self.pipe_to(side.other());
        match (crash, way_out) {
            (Crash::Killed, _) => out.close(way_out, End::Reset),
            // Nobody is left to send it again.
            (Crash::Silent, Way::Held) => out.lose(),
            (Crash::Silent, _) => {}
        }
        wake(&mut self.pipe_to(side).reader);
        wake(&mut self.pipe_to(side.other()).writer);
    }
}

impl Link {
    pub(super) fn way_to(&mut self, side: Side) -> &mut Way {
        match side {
            Side::Host => &mut self.down,
            Side::Server => &mut self.up,
        }
    }
}
