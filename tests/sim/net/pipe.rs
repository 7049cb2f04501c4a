//! One direction of one connection, as plain data: the bytes in flight, when they arrive, and how
//! the direction ends.

use std::{collections::VecDeque, io, task::Waker, time::Duration};

use bytes::{Buf as _, Bytes};
use tokio::{io::ReadBuf, time::Instant};

/// Bytes that may be in flight: the size of a usual socket buffer.
const WINDOW: usize = 256 * 1024;
/// TCP retransmits stalled bytes within this time after the link is up again. Each connection draws
/// its own delay.
const RETRANSMITTED_WITHIN: Duration = Duration::from_secs(3);

/// What a link does to bytes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Bytes arrive after the latency.
    Up,
    /// Bytes arrive some time after the link is up again: a partition that TCP survives, because it
    /// retransmits.
    Stalled,
    /// Bytes are lost, and with them the direction: the link comes up too late for TCP to close the
    /// gap, so nothing that follows is delivered either. Neither end is notified.
    Dropping,
}

/// How a direction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// After everything that was sent.
    Fin,
    /// The other end is gone.
    Reset,
}

/// The outcome of a read.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Bytes were put into the buffer.
    Data,
    /// The direction has ended.
    End(End),
    /// The next bytes, or the end, arrive at this time.
    ArrivesAt(Instant),
    /// Nothing is in flight.
    Empty,
}

/// One direction of a connection.
#[derive(Debug)]
pub struct Pipe {
    in_flight: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    end: Option<(Instant, End)>,
    /// Bytes were lost, so nothing more is delivered.
    broken: bool,
    latency: Latency,
    last_arrival: Instant,
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
}

/// The latency of a link, with a jitter of up to half of it.
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
            in_flight: VecDeque::new(),
            bytes: 0,
            end: None,
            broken: false,
            latency,
            last_arrival: Instant::now(),
            reader: None,
            writer: None,
        }
    }

    /// When bytes that are sent now arrive: never before earlier ones.
    fn arrival(&mut self) -> Instant {
        self.last_arrival = self.last_arrival.max(Instant::now() + self.latency.next());
        self.last_arrival
    }

    /// Sends as many bytes as the window has room for; returns their number.
    pub fn send(&mut self, link: LinkState, bytes: &[u8]) -> usize {
        let length = bytes.len().min(WINDOW - self.bytes);
        if length == 0 {
            return 0;
        }
        // Lost bytes fill the window too: they are never acknowledged.
        self.bytes += length;
        // After a reset, the sender may write until it notices; those bytes never arrive.
        if self.end.is_none() && self.delivers(link) {
            let arrival = self.arrival();
            self.in_flight.push_back((arrival, Bytes::copy_from_slice(&bytes[..length])));
            wake(&mut self.reader);
        }
        length
    }

    /// Ends the direction after all that was sent.
    pub fn close(&mut self, link: LinkState, end: End) {
        if self.end.is_none() && self.delivers(link) {
            self.end = Some((self.arrival(), end));
            wake(&mut self.reader);
        }
    }

    /// Ends the direction at once and discards the bytes in flight.
    pub fn reset(&mut self) {
        self.in_flight.clear();
        self.end = Some((Instant::now(), End::Reset));
        wake(&mut self.reader);
    }

    /// The link is up again after it was stalled.
    pub fn retransmit(&mut self) {
        let arrival = Instant::now() + RETRANSMITTED_WITHIN.mul_f64(self.latency.random.f64());
        let waiting =
            self.in_flight.iter_mut().map(|(at, _)| at).chain(self.end.iter_mut().map(|(at, _)| at));
        for at in waiting {
            *at = arrival.max(*at);
            self.last_arrival = self.last_arrival.max(*at);
        }
        wake(&mut self.reader);
    }

    /// Changes the latency of bytes that are sent from now on.
    pub fn set_latency(&mut self, base: Duration) {
        self.latency.base = base;
    }

    /// Loses the bytes in flight, and with them the direction.
    pub fn drop_in_flight(&mut self) {
        if !self.in_flight.is_empty() || self.end.is_some() {
            self.in_flight.clear();
            self.end = None;
            self.broken = true;
        }
    }

    /// Whether everything that was sent arrives, and more may follow.
    pub fn is_intact(&self) -> bool {
        !self.broken && self.end.is_none()
    }

    fn delivers(&mut self, link: LinkState) -> bool {
        self.broken |= link == LinkState::Dropping;
        !self.broken
    }

    /// Reads the bytes that have arrived.
    pub fn read(&mut self, link: LinkState, buf: &mut ReadBuf<'_>) -> ReadOutcome {
        if link == LinkState::Stalled {
            return ReadOutcome::Empty;
        }
        let now = Instant::now();
        let mut outcome = ReadOutcome::Empty;
        while let Some((arrival, bytes)) = self.in_flight.front_mut() {
            if *arrival > now || buf.remaining() == 0 {
                let later = ReadOutcome::ArrivesAt(*arrival);
                return if outcome == ReadOutcome::Empty { later } else { outcome };
            }
            let length = bytes.len().min(buf.remaining());
            buf.put_slice(&bytes[..length]);
            bytes.advance(length);
            if bytes.is_empty() {
                self.in_flight.pop_front();
            }
            self.bytes -= length;
            wake(&mut self.writer);
            outcome = ReadOutcome::Data;
        }
        match self.end {
            _ if outcome == ReadOutcome::Data => outcome,
            Some((arrival, _)) if arrival > now => ReadOutcome::ArrivesAt(arrival),
            Some((_, end)) => ReadOutcome::End(end),
            None => ReadOutcome::Empty,
        }
    }
}

/// Wakes the task that waits, if there is one.
pub fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}

/// The error of a connection that was reset.
pub fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
