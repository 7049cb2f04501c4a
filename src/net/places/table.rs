//! The state of [`Places`](super::Places), without locks and clocks.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    net::IpAddr,
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    Closing, Full, PlaceLimits,
    unauthenticated::{OnUnauthenticated, Unauthenticated, UnauthenticatedLimit},
};

/// Identifies a connection.
pub(super) type Id = u64;

/// Connections that may be closed, in the order of their last activity.
type Closable = BTreeSet<(Instant, Id)>;

/// All connections of a server.
#[derive(Debug)]
pub(super) struct Table {
    limits: PlaceLimits,
    last_id: Id,
    connections: HashMap<Id, Connection>,
    /// Connections of clients that are not known, by address.
    addresses: HashMap<IpAddr, OfAddress>,
    /// Closable connections: of unknown clients, and of known ones.
    unknown: Closable,
    known: Closable,
    unauthenticated: UnauthenticatedLimit,
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    closing: oneshot::Sender<Closing>,
    known: bool,
    progress: Progress,
    uses: usize,
    last_activity: Instant,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Opened,
    Requested,
    Authenticated,
}

/// The unknown clients at one address.
#[derive(Debug, Default)]
struct OfAddress {
    connections: usize,
    closable: Closable,
}

impl Table {
    pub(super) fn new(limits: PlaceLimits, on_unauthenticated: OnUnauthenticated) -> Self {
        Self {
            limits,
            last_id: 0,
            connections: HashMap::new(),
            addresses: HashMap::new(),
            unknown: Closable::new(),
            known: Closable::new(),
            unauthenticated: UnauthenticatedLimit::new(limits.unauthenticated_rate, on_unauthenticated),
        }
    }

    /// Checks whether an address may open a connection; see [`UnauthenticatedLimit::check`].
    ///
    /// # Errors
    ///
    /// If too many of its connections were unauthenticated.
    pub(super) fn check(&mut self, address: IpAddr, now: Instant) -> Result<(), Option<u64>> {
        self.unauthenticated.check(address, now)
    }

    /// Takes a place. At a limit, the connection with the oldest activity that counts towards it is
    /// closed, if one is not in use.
    ///
    /// A client at its own limit replaces a connection of its own. So it takes two addresses to
    /// replace the connections of others.
    pub(super) fn take(
        &mut self,
        address: IpAddr,
        closing: oneshot::Sender<Closing>,
        now: Instant,
    ) -> Result<(Id, Option<Full>), Full> {
        let own = self.addresses.get(&address);
        let replaced = if own.is_some_and(|own| own.connections >= self.limits.of_address(address)) {
            let oldest = own.and_then(|own| own.closable.first()).copied();
            Some((oldest, Full::Address))
        } else if self.connections.len() >= self.limits.total {
            let oldest = self.unknown.first().or_else(|| self.known.first()).copied();
            Some((oldest, Full::Total))
        } else {
            None
        };
        if let Some((oldest, full)) = replaced {
            let (_, id) = oldest.ok_or(full)?;
            self.close(id, Closing::Replaced, now);
        }
        self.last_id += 1;
        let id = self.last_id;
        let progress = Progress::Opened;
        let connection = Connection { address, closing, known: false, progress, uses: 0, last_activity: now };
        self.connections.insert(id, connection);
        self.addresses.entry(address).or_default().connections += 1;
        self.set_closable(id, true);
        Ok((id, replaced.map(|(_, full)| full)))
    }

    /// Closes the connections whose last activity was `timeout` ago or earlier. Returns the oldest
    /// activity among the others that are not in use.
    pub(super) fn close_idle(&mut self, now: Instant, timeout: Duration) -> Option<Instant> {
        loop {
            let (last_activity, id) = *self.unknown.first().into_iter().chain(self.known.first()).min()?;
            if last_activity + timeout > now {
                return Some(last_activity);
            }
            self.close(id, Closing::Idle, now);
        }
    }

    pub(super) fn touch(&mut self, id: Id, now: Instant) {
        self.requested(id);
        if self.connections.get(&id).is_some_and(|connection| connection.uses == 0) {
            self.set_closable(id, false);
            self.record_activity(id, now);
            self.set_closable(id, true);
        }
    }

    pub(super) fn begin_use(&mut self, id: Id) {
        self.requested(id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.uses += 1;
        if connection.uses == 1 {
            self.set_closable(id, false);
        }
    }

    pub(super) fn end_use(&mut self, id: Id, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.uses -= 1;
        if connection.uses == 0 {
            self.record_activity(id, now);
            self.set_closable(id, true);
        }
    }

    pub(super) fn known(&mut self, id: Id) {
        let Some(connection) = self.connections.get(&id).filter(|connection| !connection.known) else {
            return;
        };
        let (address, closable) = (connection.address, connection.uses == 0);
        self.set_closable(id, false);
        self.leave(address);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.known = true;
        }
        self.set_closable(id, closable);
    }

    pub(super) fn authenticated(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.progress != Progress::Authenticated {
            connection.progress = Progress::Authenticated;
            self.unauthenticated.begin_authenticated(connection.address);
        }
    }

    fn requested(&mut self, id: Id) {
        if let Some(connection) = self.connections.get_mut(&id)
            && connection.progress == Progress::Opened
        {
            connection.progress = Progress::Requested;
        }
    }

    pub(super) fn remove(&mut self, id: Id, now: Instant) -> Option<oneshot::Sender<Closing>> {
        self.set_closable(id, false);
        let connection = self.connections.remove(&id)?;
        match connection.progress {
            Progress::Opened => {
                self.unauthenticated.record(connection.address, Unauthenticated::NoRequest, now);
            }
            Progress::Requested => {
                self.unauthenticated.record(connection.address, Unauthenticated::NoCaller, now);
            }
            Progress::Authenticated => self.unauthenticated.end_authenticated(connection.address),
        }
        if !connection.known {
            self.leave(connection.address);
        }
        Some(connection.closing)
    }

    fn close(&mut self, id: Id, why: Closing, now: Instant) {
        if let Some(closing) = self.remove(id, now) {
            // Fails if the connection has just ended by itself.
            let _ended = closing.send(why);
        }
    }

    fn leave(&mut self, address: IpAddr) {
        if let Entry::Occupied(mut own) = self.addresses.entry(address) {
            own.get_mut().connections -= 1;
            if own.get().connections == 0 {
                own.remove();
            }
        }
    }

    fn record_activity(&mut self, id: Id, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.last_activity = now;
        }
    }

    /// Adds a connection to the closable ones, or removes it.
    fn set_closable(&mut self, id: Id, closable: bool) {
        let Some(connection) = self.connections.get(&id) else { return };
        let set = |of: &mut Closable| {
            let key = (connection.last_activity, id);
            if closable { of.insert(key) } else { of.remove(&key) }
        };
        if connection.known {
            set(&mut self.known);
        } else {
            set(&mut self.unknown);
            if let Some(own) = self.addresses.get_mut(&connection.address) {
                set(&mut own.closable);
            }
        }
    }
}

#[cfg(test)]
mod tests;
