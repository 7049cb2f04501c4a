//! The simulated network: a server, and hosts that each have a link to it.
//!
//! ```text
//!   host ══ link: up ──► / down ◄── ══ server       a way is whole, held or lossy
//!             └ connections, of two pipes each      a pipe is bytes that arrive later
//! ```
//!
//! Time is tokio's, which is paused: it moves to the next thing that is due as
//! soon as nobody has anything to do. So a quiet minute costs nothing, however
//! many hosts there are. Turmoil would be the obvious choice, but it gives each
//! host a runtime of its own and steps all of them through every tick: a minute
//! of 61 hosts that do nothing took it 81 s with ticks of 1 ms, 4 s with 10 ms
//! and 0.8 s with 50 ms, in which what happens within a tick happens at once.
//! A whole seed takes 0.3 s here.
//!
//! All chance comes from the seed, by connection: it does not matter which of
//! two hosts is polled first.

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

pub use self::{
    link::{Crash, Side},
    pipe::Way,
    socket::Socket,
};
use self::{
    link::{Link, Pair},
    pipe::{End, Found, Latency, Pipe, reset},
};

/// A host, by its number.
pub type Host = usize;

/// A connection, by its number.
type Connection = u64;

/// A handle on the network; clones share it.
#[derive(Debug, Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A way has become whole, or the server has come up.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    seed: u64,
    links: Vec<Link>,
    door: Door,
    /// Lives of the server so far.
    lives: u64,
    connections: BTreeMap<Connection, Pair>,
    made: Connection,
}

/// Where connections come in.
#[derive(Debug)]
enum Door {
    /// Nobody answers.
    Off,
    /// The machine is up and nothing listens on it.
    Refusing,
    Open(mpsc::UnboundedSender<(Socket, SocketAddr)>),
}

impl Network {
    /// As many hosts with whole links, and a server that is off.
    pub fn new(seed: u64, hosts: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let links = (0..hosts)
            .map(|_| {
                let latency = Duration::from_micros(random.u64(300..8_000));
                Link { up: Way::Whole, down: Way::Whole, usual_latency: latency, latency, connections: 0 }
            })
            .collect();
        let state = State { seed, links, door: Door::Off, lives: 0, connections: BTreeMap::new(), made: 0 };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("nobody panics with it")
    }

    /// The server comes up; returns what arrives at it. While the stream lives,
    /// it listens.
    pub fn listen(&self) -> impl Stream<Item = (Socket, SocketAddr)> + Send + use<> {
        let (open, arrivals) = mpsc::unbounded_channel();
        let mut state = self.state();
        state.door = Door::Open(open);
        state.lives += 1;
        drop(state);
        self.shared.changed.notify_waiters();
        stream::unfold(arrivals, |mut arrivals| async { Some((arrivals.recv().await?, arrivals)) })
    }

    /// Lives of the server so far.
    pub fn lives(&self) -> u64 {
        self.state().lives
    }

    /// Changes what happens to bytes that go to one side of a host's link.
    pub fn set_way(&self, host: Host, to: Side, way: Way) {
        let state = &mut *self.state();
        let before = std::mem::replace(state.links[host].way_to(to), way);
        for pair in state.connections.values_mut().filter(|pair| pair.host == host) {
            let pipe = pair.pipe_to(to);
            match (before, way) {
                (Way::Held, Way::Whole) => pipe.release(),
                (_, Way::Lossy) => pipe.lose(),
                (_, Way::Whole | Way::Held) => {}
            }
        }
        self.shared.changed.notify_waiters();
    }

    /// Changes how long bytes of a host's link travel, either way.
    pub fn set_latency(&self, host: Host, latency: Duration) {
        let state = &mut *self.state();
        state.links[host].latency = latency;
        for pair in state.connections.values_mut().filter(|pair| pair.host == host) {
            pair.to_host.set_latency(latency);
            pair.to_server.set_latency(latency);
        }
    }

    /// A host's link is whole and fast again.
    pub fn heal(&self, host: Host) {
        self.set_way(host, Side::Host, Way::Whole);
        self.set_way(host, Side::Server, Way::Whole);
        let usual = self.state().links[host].usual_latency;
        self.set_latency(host, usual);
    }

    /// Something on the way resets a host's connections, for both sides.
    pub fn reset(&self, host: Host) {
        for pair in self.state().connections.values_mut().filter(|pair| pair.host == host) {
            pair.to_host.reset();
            pair.to_server.reset();
        }
    }

    /// A host goes down. What it sent before still arrives.
    pub fn crash(&self, host: Host, crash: Crash) {
        let state = &mut *self.state();
        let up = state.links[host].up;
        for pair in state.connections.values_mut().filter(|pair| pair.host == host) {
            pair.crash(Side::Host, crash, up);
        }
    }

    /// The server goes down.
    pub fn crash_server(&self, crash: Crash) {
        let state = &mut *self.state();
        state.door = match crash {
            Crash::Killed => Door::Refusing,
            Crash::Silent => Door::Off,
        };
        for pair in state.connections.values_mut() {
            pair.crash(Side::Server, crash, state.links[pair.host].down);
        }
    }

    /// Opens a connection from a host to the server; returns it and which life
    /// of the server it leads to. Waits for as long as nobody answers.
    pub async fn connect(&self, host: Host) -> io::Result<(Socket, u64)> {
        let mut travel = self.latency(host);
        let opened = loop {
            self.passable(host, Side::Server).await;
            sleep(travel.next()).await;
            let come_up = self.shared.changed.notified();
            match self.knock(host, &travel) {
                Some(answer) => break answer,
                None => come_up.await,
            }
        };
        self.passable(host, Side::Host).await;
        sleep(travel.next()).await;
        opened
    }

    /// At the server's door; none if nobody is there.
    fn knock(&self, host: Host, travel: &Latency) -> Option<io::Result<(Socket, u64)>> {
        let state = &mut *self.state();
        let refused = Some(Err(io::ErrorKind::ConnectionRefused.into()));
        let open = match &state.door {
            Door::Off => return None,
            Door::Refusing => return refused,
            Door::Open(open) if open.is_closed() => return refused,
            Door::Open(open) => open,
        };
        let connection = state.made;
        state.made += 1;
        let mut random = travel.random.clone();
        // As the link is by now: it may have been mended since the knocking began.
        let base = state.links[host].latency;
        let mut pipe = || Pipe::new(Latency { base, random: random.fork() });
        let pair = Pair {
            host,
            to_host: pipe(),
            to_server: pipe(),
            host_lives: true,
            server_lives: true,
            sockets: 2,
        };
        state.connections.insert(connection, pair);
        let socket = |side| Socket::new(self.clone(), connection, side);
        let port = u16::try_from(connection % 60_000).unwrap_or_default();
        let octet = u8::try_from(host % 256).unwrap_or_default();
        let peer = SocketAddr::from(([10, 0, 0, octet], port));
        let sent = open.send((socket(Side::Server), peer));
        assert!(sent.is_ok(), "it was open");
        Some(Ok((socket(Side::Host), state.lives)))
    }

    /// A latency for a new connection of this host, whose chance depends on
    /// nothing but the seed, the host and how many it had before.
    fn latency(&self, host: Host) -> Latency {
        let state = &mut *self.state();
        let link = &mut state.links[host];
        link.connections += 1;
        let seed = state.seed ^ ((host as u64) << 48) ^ (link.connections << 24);
        Latency { base: link.latency, random: fastrand::Rng::with_seed(seed) }
    }

    /// Returns when packets pass this way.
    async fn passable(&self, host: Host, to: Side) {
        loop {
            let changed = self.shared.changed.notified();
            if *self.state().links[host].way_to(to) == Way::Whole {
                return;
            }
            changed.await;
        }
    }

    fn read(&self, connection: Connection, side: Side, waker: &Waker, buf: &mut ReadBuf<'_>) -> Found {
        let state = &mut *self.state();
        let pair = state.connections.get_mut(&connection).expect("a socket's connection is kept");
        if !*pair.lives(side) {
            return Found::End(End::Reset);
        }
        let way = *state.links[pair.host].way_to(side);
        let pipe = pair.pipe_to(side);
        let found = pipe.read(way, buf);
        if matches!(found, Found::Nothing | Found::Later(_)) {
            pipe.reader = Some(waker.clone());
        }
        found
    }

    fn write(
        &self,
        connection: Connection,
        side: Side,
        waker: &Waker,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.state();
        let pair = state.connections.get_mut(&connection).expect("a socket's connection is kept");
        if !*pair.lives(side) {
            return Poll::Ready(Err(reset()));
        }
        let way = *state.links[pair.host].way_to(side.other());
        let pipe = pair.pipe_to(side.other());
        match pipe.send(way, bytes) {
            0 if !bytes.is_empty() => {
                pipe.writer = Some(waker.clone());
                Poll::Pending
            }
            sent => Poll::Ready(Ok(sent)),
        }
    }

    fn shutdown(&self, connection: Connection, side: Side) {
        let state = &mut *self.state();
        let pair = state.connections.get_mut(&connection).expect("a socket's connection is kept");
        if *pair.lives(side) {
            let way = *state.links[pair.host].way_to(side.other());
            pair.pipe_to(side.other()).close(way, End::Fin);
        }
    }

    fn close(&self, connection: Connection, side: Side) {
        self.shutdown(connection, side);
        let state = &mut *self.state();
        let pair = state.connections.get_mut(&connection).expect("a socket's connection is kept");
        *pair.lives(side) = false;
        pair.sockets -= 1;
        if pair.sockets == 0 {
            state.connections.remove(&connection);
        }
    }
}
