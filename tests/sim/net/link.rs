//! The link between a host and the server, and the connections over it, as plain data.

use std::time::Duration;

use super::{
    Host,
    frames::Frames,
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
    /// PINGs, without their acks, that were sent in either direction.
    pub(super) pings: u64,
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
    pub(super) frames_to_host: Frames,
    pub(super) frames_to_server: Frames,
    /// A proxy answers the PINGs of both ends, and carries nothing else.
    pub(super) stranded: bool,
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

    pub(super) fn frames_to(&mut self, side: Side) -> &mut Frames {
        match side {
            Side::Host => &mut self.frames_to_host,
            Side::Server => &mut self.frames_to_server,
        }
    }

    /// Strands the connection, unless an ack of the proxy would come within a frame or after lost
    /// bytes.
    pub(super) fn strand(&mut self) {
        let mut is_intact = |side| self.pipe_to(side).is_intact() && self.frames_to(side).are_whole();
        self.stranded |= is_intact(Side::Host) && is_intact(Side::Server);
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
        let stranded = self.stranded;
        let pipe = self.pipe_to(side.other());
        match (crash, outgoing) {
            // The proxy does not pass it on.
            _ if stranded => {}
            (Crash::Killed, _) => pipe.close(outgoing, End::Reset),
            // Nothing is left that could retransmit the stalled bytes.
            (Crash::PowerLoss, LinkState::Stalled) => pipe.drop_in_flight(),
            (Crash::PowerLoss, _) => {}
        }
        wake(&mut self.pipe_to(side).reader);
        wake(&mut self.pipe_to(side.other()).writer);
    }
}
