//! The simulated network: one server, and hosts that each have a link to it.
//!
//! ```text
//!   host ══ link: to_server ──► / to_host ◄── ══ server     each direction is up, stalled or dropping
//!             └ connections, of two pipes each              a pipe delays bytes by the link's latency
//! ```
//!
//! Time is tokio's paused clock: when every task is idle, it jumps to the next timer, so a quiet
//! minute costs nothing, however many hosts there are. Turmoil was considered, but it gives each host
//! a runtime of its own and polls all of them in every tick: a minute of 61 idle hosts took 81 s
//! with ticks of 1 ms, 4 s with 10 ms and 0.8 s with 50 ms, and events within one tick are
//! simultaneous. A whole seed takes 0.3 s here.
//!
//! Each connection has a random generator that depends only on the seed, its host and its number:
//! the order in which two hosts are polled changes nothing.

mod frames;
mod link;
mod pipe;
mod socket;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    task::{Poll, Waker},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::{
    io::ReadBuf,
    sync::{Notify, mpsc},
    time::sleep,
};

use self::{
    frames::Frames,
    link::{Connection, Link},
    pipe::{End, Latency, Pipe, ReadOutcome, reset},
};
pub use self::{
    link::{Crash, Side},
    pipe::LinkState,
    socket::Socket,
};

/// A host, by its number.
pub type Host = usize;

/// A connection, by its number.
type ConnectionId = u64;

/// A handle on the network; clones share it.
#[derive(Debug, Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A link has come up, or the server has.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    seed: u64,
    links: Vec<Link>,
    listener: Listener,
    /// How often the server has started.
    incarnation: u64,
    connections: BTreeMap<ConnectionId, Connection>,
    next_connection: ConnectionId,
}

/// The server's side of new connections.
#[derive(Debug)]
enum Listener {
    /// The machine is down: connection attempts are not answered.
    Down,
    /// The machine is up, and no process listens on it.
    Refusing,
    Listening(mpsc::UnboundedSender<(Socket, SocketAddr)>),
}

impl Network {
    /// Creates a network of this many hosts whose links are up, and a server that is down.
    pub fn new(seed: u64, hosts: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let links = (0..hosts)
            .map(|_| {
                let latency = Duration::from_micros(random.u64(300..8_000));
                Link {
                    to_server: LinkState::Up,
                    to_host: LinkState::Up,
                    healed_latency: latency,
                    latency,
                    pings: 0,
                    attempts: 0,
                }
            })
            .collect();
        let state = State {
            seed,
            links,
            listener: Listener::Down,
            incarnation: 0,
            connections: BTreeMap::new(),
            next_connection: 0,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no panic while it is locked")
    }

    /// Starts the server's next incarnation; returns its incoming connections. It listens until the
    /// stream is dropped.
    pub fn listen(&self) -> impl Stream<Item = (Socket, SocketAddr)> + Send + use<> {
        let (accepted, incoming) = mpsc::unbounded_channel();
        let mut state = self.state();
        state.listener = Listener::Listening(accepted);
        state.incarnation += 1;
        drop(state);
        self.shared.changed.notify_waiters();
        stream::unfold(incoming, |mut incoming| async { Some((incoming.recv().await?, incoming)) })
    }

    /// How often the server has started.
    pub fn incarnation(&self) -> u64 {
        self.state().incarnation
    }

    /// Changes the state of a host's link in the direction toward a side.
    pub fn set_link(&self, host: Host, toward: Side, link: LinkState) {
        let state = &mut *self.state();
        let before = std::mem::replace(state.links[host].toward(toward), link);
        for connection in state.connections.values_mut().filter(|connection| connection.host == host) {
            let pipe = connection.pipe_to(toward);
            match (before, link) {
                (LinkState::Stalled, LinkState::Up) => pipe.retransmit(),
                (_, LinkState::Dropping) => pipe.drop_in_flight(),
                (_, LinkState::Up | LinkState::Stalled) => {}
            }
        }
        self.shared.changed.notify_waiters();
    }

    /// Changes the latency of a host's link, in both directions.
    pub fn set_latency(&self, host: Host, latency: Duration) {
        let state = &mut *self.state();
        state.links[host].latency = latency;
        for connection in state.connections.values_mut().filter(|connection| connection.host == host) {
            connection.to_host.set_latency(latency);
            connection.to_server.set_latency(latency);
        }
    }

    /// Takes a host's link up, with its usual latency.
    pub fn heal(&self, host: Host) {
        self.set_link(host, Side::Host, LinkState::Up);
        self.set_link(host, Side::Server, LinkState::Up);
        let latency = self.state().links[host].healed_latency;
        self.set_latency(host, latency);
    }

    /// Resets a host's connections at both ends, as a middlebox does.
    pub fn reset(&self, host: Host) {
        for connection in self.state().connections.values_mut().filter(|connection| connection.host == host) {
            connection.to_host.reset();
            connection.to_server.reset();
        }
    }

    /// Strands a host's connections: a proxy between the two ends still answers the HTTP/2 PINGs of
    /// both, and carries nothing else. New connections take another way.
    pub fn strand(&self, host: Host) {
        for connection in self.state().connections.values_mut().filter(|connection| connection.host == host) {
            connection.strand();
        }
    }

    /// How many PINGs a host and the server have sent to each other.
    pub fn pings(&self, host: Host) -> u64 {
        self.state().links[host].pings
    }

    /// Takes a host down. Bytes in flight still arrive.
    pub fn crash(&self, host: Host, crash: Crash) {
        let state = &mut *self.state();
        let outgoing = state.links[host].to_server;
        for connection in state.connections.values_mut().filter(|connection| connection.host == host) {
            connection.crash(Side::Host, crash, outgoing);
        }
    }

    /// Takes the server down.
    pub fn crash_server(&self, crash: Crash) {
        let state = &mut *self.state();
        state.listener = match crash {
            Crash::Killed => Listener::Refusing,
            Crash::PowerLoss => Listener::Down,
        };
        for connection in state.connections.values_mut() {
            connection.crash(Side::Server, crash, state.links[connection.host].to_host);
        }
    }

    /// Connects a host to the server; returns the socket and the incarnation that it leads to.
    /// Waits while the link or the server is down.
    pub async fn connect(&self, host: Host) -> io::Result<(Socket, u64)> {
        let mut latency = self.latency(host);
        let opened = loop {
            self.until_up(host, Side::Server).await;
            sleep(latency.next()).await;
            let changed = self.shared.changed.notified();
            match self.accept(host, &latency) {
                Some(answer) => break answer,
                None => changed.await,
            }
        };
        self.until_up(host, Side::Host).await;
        sleep(latency.next()).await;
        opened
    }

    /// The server's answer to a connection attempt; none while its machine is down.
    fn accept(&self, host: Host, latency: &Latency) -> Option<io::Result<(Socket, u64)>> {
        let state = &mut *self.state();
        let refused = Some(Err(io::ErrorKind::ConnectionRefused.into()));
        let accepted = match &state.listener {
            Listener::Down => return None,
            Listener::Refusing => return refused,
            Listener::Listening(accepted) if accepted.is_closed() => return refused,
            Listener::Listening(accepted) => accepted,
        };
        let id = state.next_connection;
        state.next_connection += 1;
        let mut random = latency.random.clone();
        // The link's latency may have changed since the attempt began.
        let base = state.links[host].latency;
        let mut pipe = || Pipe::new(Latency { base, random: random.fork() });
        let connection = Connection {
            host,
            to_host: pipe(),
            to_server: pipe(),
            frames_to_host: Frames::default(),
            frames_to_server: Frames::of_client(),
            stranded: false,
            host_open: true,
            server_open: true,
            sockets: 2,
        };
        state.connections.insert(id, connection);
        let socket = |side| Socket::new(self.clone(), id, side);
        let port = u16::try_from(id % 60_000).unwrap_or_default();
        let octet = u8::try_from(host % 256).unwrap_or_default();
        let peer = SocketAddr::from(([10, 0, 0, octet], port));
        let sent = accepted.send((socket(Side::Server), peer));
        assert!(sent.is_ok(), "the listener is open");
        Some(Ok((socket(Side::Host), state.incarnation)))
    }

    /// The latency of a host's next connection; its random generator depends only on the seed, the
    /// host and the number of earlier attempts.
    fn latency(&self, host: Host) -> Latency {
        let state = &mut *self.state();
        let link = &mut state.links[host];
        link.attempts += 1;
        let seed = state.seed ^ ((host as u64) << 48) ^ (link.attempts << 24);
        Latency { base: link.latency, random: fastrand::Rng::with_seed(seed) }
    }

    /// Waits until the link is up in the direction toward a side.
    async fn until_up(&self, host: Host, toward: Side) {
        loop {
            let changed = self.shared.changed.notified();
            if *self.state().links[host].toward(toward) == LinkState::Up {
                return;
            }
            changed.await;
        }
    }

    fn read(&self, id: ConnectionId, side: Side, waker: &Waker, buf: &mut ReadBuf<'_>) -> ReadOutcome {
        let state = &mut *self.state();
        let connection = state.connections.get_mut(&id).expect("a connection outlives its sockets");
        if !*connection.open(side) {
            return ReadOutcome::End(End::Reset);
        }
        let link = *state.links[connection.host].toward(side);
        let pipe = connection.pipe_to(side);
        let outcome = pipe.read(link, buf);
        if matches!(outcome, ReadOutcome::Empty | ReadOutcome::ArrivesAt(_)) {
            pipe.reader = Some(waker.clone());
        }
        outcome
    }

    fn write(&self, id: ConnectionId, side: Side, waker: &Waker, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let state = &mut *self.state();
        let connection = state.connections.get_mut(&id).expect("a connection outlives its sockets");
        if !*connection.open(side) {
            return Poll::Ready(Err(reset()));
        }
        let links = &mut state.links[connection.host];
        if connection.stranded {
            for ack in connection.frames_to(side.other()).read(bytes) {
                connection.pipe_to(side).send(*links.toward(side), &ack);
            }
            return Poll::Ready(Ok(bytes.len()));
        }
        let pipe = connection.pipe_to(side.other());
        match pipe.send(*links.toward(side.other()), bytes) {
            0 if !bytes.is_empty() => {
                pipe.writer = Some(waker.clone());
                Poll::Pending
            }
            sent => {
                links.pings += connection.frames_to(side.other()).read(&bytes[..sent]).len() as u64;
                Poll::Ready(Ok(sent))
            }
        }
    }

    fn shutdown(&self, id: ConnectionId, side: Side) {
        let state = &mut *self.state();
        let connection = state.connections.get_mut(&id).expect("a connection outlives its sockets");
        if *connection.open(side) && !connection.stranded {
            let link = *state.links[connection.host].toward(side.other());
            connection.pipe_to(side.other()).close(link, End::Fin);
        }
    }

    fn close(&self, id: ConnectionId, side: Side) {
        self.shutdown(id, side);
        let state = &mut *self.state();
        let connection = state.connections.get_mut(&id).expect("a connection outlives its sockets");
        *connection.open(side) = false;
        connection.sockets -= 1;
        if connection.sockets == 0 {
            state.connections.remove(&id);
        }
    }
}
