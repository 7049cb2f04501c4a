//! One direction of one connection, in plain data: what is under way, when it
//! arrives, and how it ends.

use std::{collections::VecDeque, io, task::Waker, time::Duration};

use bytes::{Buf as _, Bytes};
use tokio::{io::ReadBuf, time::Instant};

/// What may be under way: as much as a usual socket buffer.
const WINDOW: usize = 256 * 1024;
/// What was held is sent again at a time of each connection's own: the longer
/// it waited, the longer it may still wait.
const RETRANSMITTED_WITHIN: Duration = Duration::from_secs(3);

/// What a link does to bytes that go one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They arrive.
    Whole,
    /// They wait, and arrive together some time after the way is whole again:
    /// what TCP makes of a gap that it can mend.
    Held,
    /// They are lost, and so is the connection, although nobody is told: what
    /// comes after a gap that nothing mends is never delivered.
    Lossy,
}

/// How a direction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything was said.
    Fin,
    /// The other side is no more.
    Reset,
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Bytes, which were put into the buffer.
    Bytes,
    /// The end.
    End(End),
    /// Something that arrives then.
    Later(Instant),
    /// Nothing is under way.
    Nothing,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Pipe {
    under_way: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    end: Option<(Instant, End)>,
    /// Something was lost.
    broken: bool,
    latency: Latency,
    last_arrival: Instant,
    /// Who waits for something to read, or for room to write.
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
}

/// How long bytes travel: a time of the link's own, and up to half as much
/// again.
#[derive(Debug, Clone)]
pub struct Latency {
    pub base: Duration,
    pub random: fastrand::Rng,
}

impl Latency {
    pub fn next(&mut self) -> Duration {
        self.base.mul_f64(1.0 + self.random.f64() / 2.0)
    }
}

impl Pipe {
    pub fn new(latency: Latency) -> Self {
        Self {
            under_way: VecDeque::new(),
            bytes: 0,
            end: None,
            broken: false,
            latency,
            last_arrival: Instant::now(),
            reader: None,
            writer: None,
        }
    }

    /// When what is sent now arrives: never before what was sent earlier.
    fn arrival(&mut self) -> Instant {
        self.last_arrival = self.last_arrival.max(Instant::now() + self.latency.next());
        self.last_arrival
    }

    /// Sends bytes; returns how many there was room for.
    pub fn send(&mut self, way: Way, bytes: &[u8]) -> usize {
        let length = bytes.len().min(WINDOW - self.bytes);
        if length == 0 {
            return 0;
        }
        // What is lost takes its room all the same, since nobody acknowledges it.
        self.bytes += length;
        // Who has not noticed yet that it was reset may go on for a while.
        if self.end.is_none() && self.carries(way) {
            let arrival = self.arrival();
            self.under_way.push_back((arrival, Bytes::copy_from_slice(&bytes[..length])));
            wake(&mut self.reader);
        }
        length
    }

    /// Ends the direction after all that was sent.
    pub fn close(&mut self, way: Way, end: End) {
        if self.end.is_none() && self.carries(way) {
            self.end = Some((self.arrival(), end));
            wake(&mut self.reader);
        }
    }

    /// Ends it at once: what was under way is thrown away.
    pub fn reset(&mut self) {
        self.under_way.clear();
        self.end = Some((Instant::now(), End::Reset));
        wake(&mut self.reader);
    }

    /// The way is whole again after it was held.
    pub fn release(&mut self) {
        let arrival = Instant::now() + RETRANSMITTED_WITHIN.mul_f64(self.latency.random.f64());
        let waiting =
            self.under_way.iter_mut().map(|(at, _)| at).chain(self.end.iter_mut().map(|(at, _)| at));
        for at in waiting {
            *at = arrival.max(*at);
            self.last_arrival = self.last_arrival.max(*at);
        }
        wake(&mut self.reader);
    }

    /// Bytes travel for another time from now on.
    pub fn set_latency(&mut self, base: Duration) {
        self.latency.base = base;
    }

    /// The way has become lossy: what is under way does not arrive.
    pub fn lose(&mut self) {
        if !self.under_way.is_empty() || self.end.is_some() {
            self.under_way.clear();
            self.end = None;
            self.broken = true;
        }
    }

    fn carries(&mut self, way: Way) -> bool {
        self.broken |= way == Way::Lossy;
        !self.broken
    }

    /// Reads what has arrived.
    pub fn read(&mut self, way: Way, buf: &mut ReadBuf<'_>) -> Found {
        if way == Way::Held {
            return Found::Nothing;
        }
        let now = Instant::now();
        let mut found = Found::Nothing;
        while let Some((arrival, bytes)) = self.under_way.front_mut() {
            if *arrival > now || buf.remaining() == 0 {
                let later = Found::Later(*arrival);
                return if found == Found::Nothing { later } else { found };
            }
            let length = bytes.len().min(buf.remaining());
            buf.put_slice(&bytes[..length]);
            bytes.advance(length);
            if bytes.is_empty() {
                self.under_way.pop_front();
            }
            self.bytes -= length;
            wake(&mut self.writer);
            found = Found::Bytes;
        }
        match self.end {
            _ if found == Found::Bytes => found,
            Some((arrival, _)) if arrival > now => Found::Later(arrival),
            Some((_, end)) => Found::End(end),
            None => Found::Nothing,
        }
    }
}

/// Wakes who waits, if somebody does.
pub fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}

/// What a connection reports whose other side is no more.
pub fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
