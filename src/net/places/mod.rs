//! The places of a server's connections: how many may be open in all and from one address, and
//! which connection is closed to make room for another.
//!
//! A connection that is in use keeps its place. Any other one is closed when its place is needed,
//! the one whose last activity is the oldest first. So clients that only hold connections open keep
//! nobody out, and a server can also close the connections that have been idle for too long.
//!
//! An address gets no place for a while if too many of its connections have ended
//! [`unauthenticated`].

mod table;
mod unauthenticated;

use std::{net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};
use tracing::warn;

use self::table::{Id, Table};
pub(crate) use self::unauthenticated::Unauthenticated;
use super::client_address::client_address;

/// How many connections a server has places for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaceLimits {
    /// Open connections.
    pub(crate) total: usize,
    /// Open connections from one address that are not [known](PlaceHandle::known). An IPv6
    /// address counts as its /64 network, which is usually all one host's. None: half of `total`
    /// for each address but those of this machine, whose clients all have the same one.
    pub(crate) per_address: Option<usize>,
    /// Connections per second of one address that end without a request of an authenticated caller.
    /// None: 100 for each address but those of this machine.
    pub(crate) unauthenticated_rate: Option<usize>,
}

impl PlaceLimits {
    fn of_address(&self, address: IpAddr) -> usize {
        match self.per_address {
            Some(limit) => limit,
            None if address.is_loopback() => usize::MAX,
            None => (self.total / 2).max(1),
        }
    }
}

/// The limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Total,
    Address,
}

/// What [`Places::take`] returns.
#[derive(Debug)]
pub(crate) enum Taken {
    /// There was a free place.
    Free(Place),
    /// Another connection is closed, because this limit was reached.
    Instead(Place, Full),
    /// This limit was reached, and every connection that counts towards it is in use.
    Refused(Full),
    /// Too many connections of the address were unauthenticated. That is counted and logged.
    Unauthenticated,
}

/// Why a connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Another connection has taken its place.
    Replaced,
    /// It has been idle for too long.
    Idle,
}

/// The places of one server. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Mutex<Table>>);

impl Places {
    /// `on_unauthenticated` is called for each connection that was unauthenticated, or is refused
    /// because too many were.
    pub(crate) fn new(
        limits: PlaceLimits,
        on_unauthenticated: impl Fn(Unauthenticated) + Send + 'static,
    ) -> Self {
        Self(Arc::new(Mutex::new(Table::new(limits, Box::new(on_unauthenticated)))))
    }

    /// Takes a place for a new connection from `ip`.
    pub(crate) fn take(&self, ip: IpAddr) -> Taken {
        let (address, now) = (client_address(ip), Instant::now());
        let mut table = self.0.lock();
        if let Err(report) = table.check(address, now) {
            drop(table);
            if let Some(refused) = report {
                warn!(%address, refused, "refuses connections, because too many from this address had no authenticated request (max-unauthenticated-connection-rate)");
            }
            return Taken::Unauthenticated;
        }
        let (closing, closed) = oneshot::channel();
        match table.take(address, closing, now) {
            Ok((id, replaced)) => {
                let handle = PlaceHandle { places: self.clone(), id };
                let place = Place { handle, closed };
                match replaced {
                    None => Taken::Free(place),
                    Some(full) => Taken::Instead(place, full),
                }
            }
            Err(full) => Taken::Refused(full),
        }
    }

    /// Closes each connection that has not been in use for `timeout`. Never returns.
    pub(crate) async fn close_idle(&self, timeout: Duration) {
        loop {
            let now = Instant::now();
            let next = self.0.lock().close_idle(now, timeout);
            sleep_until(next.unwrap_or(now) + timeout).await;
        }
    }
}

/// The place of one connection. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    handle: PlaceHandle,
    closed: oneshot::Receiver<Closing>,
}

impl Place {
    pub(crate) fn handle(&self) -> PlaceHandle {
        self.handle.clone()
    }

    /// Waits until the connection must be closed, and returns why.
    pub(crate) async fn closed(&mut self) -> Closing {
        // The table keeps the sender for as long as the connection has its place.
        (&mut self.closed).await.unwrap_or(Closing::Replaced)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handle.places.0.lock().remove(self.handle.id, Instant::now());
    }
}

/// Records what happens on a connection. Without effect once the connection has lost its place.
#[derive(Debug, Clone)]
pub(crate) struct PlaceHandle {
    places: Places,
    id: Id,
}

impl PlaceHandle {
    /// Records activity: of the connections that are not in use, this one is now the last to be
    /// closed.
    pub(crate) fn touch(&self) {
        self.places.0.lock().touch(self.id, Instant::now());
    }

    /// Records that the client is authenticated. From now on its connection does not count towards
    /// the limit of its address, and while it is not in use, those of other clients are closed
    /// first.
    pub(crate) fn known(&self) {
        self.places.0.lock().known(self.id);
    }

    /// Records that the caller of a request is authenticated, or needs no credential.
    pub(crate) fn authenticated(&self) {
        self.places.0.lock().authenticated(self.id);
    }

    /// Keeps the place until the returned guard is dropped.
    pub(crate) fn begin_use(&self) -> InUse {
        self.places.0.lock().begin_use(self.id);
        InUse(self.clone())
    }
}

/// A use of a connection, such as a request in progress. The connection keeps its place meanwhile.
#[derive(Debug)]
pub(crate) struct InUse(PlaceHandle);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.places.0.lock().end_use(self.0.id, Instant::now());
    }
}
