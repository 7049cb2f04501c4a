//! The link between a host and the server, and the connections over it, as plain data.

use std::time::Duration;

use super::{
    Host,
    pipe::{End, LinkState, Pipe, wake},
};

/// The two ends of a connection. A pipe is named by the end that it leads to.
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
    /// The process dies, and its kernel resets the connections.
    Killed,
    /// The machine loses power, and sends nothing.
    PowerLoss,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) to_server: LinkState,
    pub(super) to_host: LinkState,
    pub(super) healed_latency: Duration,
    pub(super) latency: Duration,
    /// Connections that the host has attempted.
    pub(super) attempts: u64,
}

impl Link {
    pub(super) fn toward(&mut self, side: Side) -> &mut LinkState {
        match side {
            Side::Host => &mut self.to_host,
            Side::Server => &mut self.to_server,
        }
    }
}

/// A connection: a pipe for each direction, and its two ends.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) host: Host,
    pub(super) to_host: Pipe,
    pub(super) to_server: Pipe,
    /// An end is open until it is closed or its machine goes down.
    pub(super) host_open: bool,
    pub(super) server_open: bool,
    /// Ends whose socket has not been dropped.
    pub(super) sockets: u8,
}

impl Connection {
    pub(super) fn pipe_to(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Host => &mut self.to_host,
            Side::Server => &mut self.to_server,
        }
    }

    pub(super) fn open(&mut self, side: Side) -> &mut bool {
        match side {
            Side::Host => &mut self.host_open,
            Side::Server => &mut self.server_open,
        }
    }

    /// Takes down the end on this side with its machine; tasks that still use it see a reset.
    pub(super) fn crash(&mut self, side: Side, crash: Crash, outgoing: LinkState) {
        if !std::mem::take(self.open(side)) {
            return;
        }
        let pipe = self.pipe_to(side.other());
        match (crash, outgoing) {
            (Crash::Killed, _) => pipe.close(outgoing, End::Reset),
            // Nothing is left that could retransmit the stalled bytes.
            (Crash::PowerLoss, LinkState::Stalled) => pipe.drop_in_flight(),
            (Crash::PowerLoss, _) => {}
        }
        wake(&mut self.pipe_to(side).reader);
        wake(&mut self.pipe_to(side.other()).writer);
    }
}
