//! The transitions of a registration: register, take over, flip, depart, expire. Plain
//! synchronous code. The dataplane is locked throughout, then the entries concerned,
//! then the change log.

use std::{sync::Arc, time::SystemTime};

use dashmap::{Entry as Slot, OccupiedEntry};
use tokio::time::Instant;
use tracing::info;

use super::{
    Client, LimitReached, Notice, Session, SessionId,
    admission::{ClientClass, Hello, MemoryPermit, NotAdmitted, Replaced, Reservation, Throttle},
    cell::SessionCell,
    connect::Registering,
    counts::{CountChange, Entry, EntryKey, LockedEntry, Members},
    registration::{ByKey, Loss, Presence, Registration},
    shared::{Departure, Shared},
};
use crate::{
    access::{Action, Object},
    model::{Dataplane, MeshName, RegistrationRecord},
    runtime::sync::atomic::Ordering::Relaxed,
};

impl Shared {
    /// Registers a dataplane and opens its session, which takes over from an open one if the
    /// caller has the right to the registered dataplane.
    pub(crate) fn register(
        self: &Arc<Self>,
        registering: &Registering<'_>,
        hello: &Hello,
        now: SystemTime,
    ) -> Result<Session, NotAdmitted> {
        let &Registering { dataplane, caller, .. } = registering;
        let (interval, client) = (self.settings.flap_interval, hello.client);
        let session = match self.dataplanes.entry(ByKey(Arc::clone(dataplane))) {
            Slot::Vacant(slot) => {
                self.histories.admit(&dataplane.key, hello, None, interval)?;
                let memory = self.reserve(registering, None, ClientClass::New)?;
                self.histories.connect(&dataplane.key, client, None);
                let entry = self.join(dataplane, now);
                let session =
                    self.open_session(Arc::clone(dataplane), Arc::clone(&entry), memory, client, now);
                self.record_connected(&session.cell);
                slot.insert(Registration { entry, presence: Presence::Connected(Arc::clone(&session.cell)) });
                session
            }
            Slot::Occupied(slot) => {
                let registered = Object::Dataplane(&slot.key().0);
                if caller.is_some_and(|caller| caller.allow(Action::RegisterDataplane, registered).is_err()) {
                    return Err(NotAdmitted::NotOwner);
                }
                let known = slot.get();
                let last = known.known();
                self.histories.admit(&dataplane.key, hello, Some(&last), interval)?;
                let connected = matches!(known.presence, Presence::Connected(_));
                let replaces = Replaced { memory: known.presence.memory(), connected };
                let memory = self.reserve(registering, Some(replaces), ClientClass::Registered)?;
                self.histories.connect(&dataplane.key, client, Some(&last));
                let (entry, was_healthy) = self.rejoin(slot.key(), known, dataplane, now);
                let session =
                    self.open_session(Arc::clone(dataplane), Arc::clone(&entry), memory, client, now);
                // A takeover from a healthy session is a visible change itself.
                let next_change_at = if was_healthy {
                    session.cell.opened + interval
                } else {
                    known.presence.next_change_at()
                };
                session.cell.set_next_change_at(next_change_at);
                self.record_connected(&session.cell);
                let presence = Presence::Connected(Arc::clone(&session.cell));
                // The key is replaced as well, because it holds the dataplane.
                let (before, known) = slot.replace_entry(Registration { entry, presence });
                match known.presence {
                    Presence::Connected(older) => older.notify(Notice::Superseded),
                    Presence::Lost(loss) => {
                        self.retention.remove(loss.deadline, &before);
                        if loss.awaited {
                            self.warming.found();
                        }
                    }
                }
                session
            }
        };
        // `drain` may have passed the dataplane's shard before this session was inserted.
        if self.draining.load(Relaxed) {
            session.cell.notify(Notice::Draining);
        }
        Ok(session)
    }

    /// Reserves what a session needs that opens now.
    fn reserve(
        &self,
        &Registering { dataplane, bytes, accounts, retry, .. }: &Registering<'_>,
        replaces: Option<Replaced<'_>>,
        class: ClientClass,
    ) -> Result<Arc<MemoryPermit>, LimitReached> {
        let needed = Reservation { dataplane, accounts, bytes, replaces };
        self.capacity.check(&needed)?;
        // A hello that opens no session takes no token of the session rate, so that one dataplane
        // can't use up the rate by its hellos.
        self.rate_limiter.admit(class, retry)?;
        self.capacity.reserve(&needed)
    }

    fn record_connected(&self, cell: &SessionCell) {
        let dataplane = Arc::clone(&cell.dataplane);
        let record = RegistrationRecord { dataplane, since: cell.since, retained_until: None };
        self.journal.registration(&cell.dataplane.key, Some(record));
    }

    /// Lets the dataplane share the strings that it has in common with the latest member of
    /// its entry.
    pub(crate) fn deduplicate(&self, dataplane: &mut Dataplane) {
        let entry = self.entries.get(&EntryKey::of(dataplane));
        if let Some(newest) = entry.and_then(|entry| entry.read(Members::newest)) {
            dataplane.share(&newest);
        }
    }

    fn open_session(
        self: &Arc<Self>,
        dataplane: Arc<Dataplane>,
        entry: Arc<Entry>,
        memory: Arc<MemoryPermit>,
        client: Client,
        now: SystemTime,
    ) -> Session {
        let id = SessionId(self.sessions.fetch_add(1, Relaxed) + 1);
        Session {
            shared: Arc::clone(self),
            entry,
            cell: Arc::new(SessionCell::new(id, client, now, dataplane, memory)),
            throttle: Throttle::default(),
        }
    }

    /// Counts a dataplane that was not registered.
    fn join(&self, dataplane: &Arc<Dataplane>, now: SystemTime) -> Arc<Entry> {
        let key = EntryKey::of(dataplane);
        loop {
            let entry = self.entries.get_or_create(&key);
            let Some(mut locked) = self.entries.lock(&entry) else {
                continue;
            };
            let draft = locked.members().join(dataplane, now);
            self.commit([&mut locked], [draft]);
            drop(locked);
            return entry;
        }
    }

    /// Counts a registered dataplane that connects again. It may name another workload
    /// than before. Returns its entry, and whether it counted as healthy until now.
    fn rejoin(
        &self,
        ByKey(older): &ByKey,
        before: &Registration,
        dataplane: &Arc<Dataplane>,
        now: SystemTime,
    ) -> (Arc<Entry>, bool) {
        let key = EntryKey::of(dataplane);
        if *before.entry.key() == key {
            let mut locked = self.lock_own(&before.entry);
            let (connected, healthy) = before.presence.end();
            let change = CountChange { connected: 1 - connected, healthy: -healthy, total: 0 };
            locked.members().set_newest(dataplane);
            let draft = locked.members().rejoin(older, dataplane, change, now);
            self.commit([&mut locked], [draft]);
            return (Arc::clone(&before.entry), healthy > 0);
        }
        loop {
            let entry = self.entries.get_or_create(&key);
            let Some((mut left, mut joined)) = self.entries.lock_both(&before.entry, &entry) else {
                continue;
            };
            let (connected, healthy) = before.presence.end();
            let leave = CountChange { connected: -connected, healthy: -healthy, total: -1 };
            let drafts = [left.members().leave(older, leave, now), joined.members().join(dataplane, now)];
            self.commit([&mut left, &mut joined], drafts);
            drop((left, joined));
            return (entry, healthy > 0);
        }
    }

    fn count(&self, locked: &mut LockedEntry<'_>, member: &Dataplane, change: CountChange, now: SystemTime) {
        let draft = locked.members().apply(member, change, now);
        self.commit([locked], [draft]);
    }

    /// Sets whether the dataplane of a session counts as healthy.
    pub(crate) fn flip(&self, session: &Session, healthy: bool) {
        // A retired entry: the dataplane has left it, so this session no longer counts.
        let Some(mut locked) = self.entries.lock(&session.entry) else {
            return;
        };
        if session.cell.set_healthy(healthy) {
            let change = CountChange { healthy: if healthy { 1 } else { -1 }, ..CountChange::default() };
            self.count(&mut locked, &session.cell.dataplane, change, self.wall_clock());
        }
    }

    /// Ends a session. Returns false, and changes nothing, if it has ended before or
    /// another session has taken over.
    pub(crate) fn depart(&self, cell: &Arc<SessionCell>, departure: Departure) -> bool {
        self.idle.untrack(cell);
        let key = ByKey(Arc::clone(&cell.dataplane));
        let Slot::Occupied(mut slot) = self.dataplanes.entry(key.clone()) else {
            return false;
        };
        let registration = slot.get_mut();
        if !registration.has(cell) {
            return false;
        }
        self.capacity.release_session(&cell.memory);
        let now = self.wall_clock();
        let retained = !self.settings.retention.is_zero() || self.keeps_lost();
        if departure == Departure::Goodbye || !retained {
            self.histories.depart(&cell.dataplane.key, cell.client().attempt, cell.opened);
            self.unregister(slot, now);
            return true;
        }
        let mut locked = self.lock_own(&registration.entry);
        let (connected, healthy) = registration.presence.end();
        let change = CountChange { connected: -connected, healthy: -healthy, total: 0 };
        self.count(&mut locked, &cell.dataplane, change, now);
        drop(locked);
        let deadline = Instant::now() + self.settings.retention;
        let loss = Loss {
            since: now,
            opened: cell.opened,
            next_change_at: cell.next_change_at(),
            attempt: cell.client().attempt,
            deadline,
            awaited: false,
            memory: Arc::clone(&cell.memory),
        };
        // The record of a dataplane that leaves because the server stops remains that of a
        // connected one: it is expected back after the restart.
        if !self.draining.load(Relaxed) {
            let retained_until = Some(now + self.settings.retention);
            let dataplane = Arc::clone(&cell.dataplane);
            let record = RegistrationRecord { dataplane, since: now, retained_until };
            self.journal.registration(&cell.dataplane.key, Some(record));
        }
        registration.presence = Presence::Lost(Box::new(loss));
        self.retention.add(deadline, key);
        true
    }

    /// Removes a locked registration from the map and from its entry.
    fn unregister(&self, slot: OccupiedEntry<'_, ByKey, Registration>, now: SystemTime) {
        let Registration { entry, presence } = slot.get();
        let mut locked = self.lock_own(entry);
        let (connected, healthy) = presence.end();
        let change = CountChange { connected: -connected, healthy: -healthy, total: -1 };
        let draft = locked.members().leave(&slot.key().0, change, now);
        // First, so that the removal of the Workload is never stored without it.
        self.journal.registration(&slot.key().0.key, None);
        self.commit([&mut locked], [draft]);
        drop(locked);
        if matches!(presence, Presence::Lost(loss) if loss.awaited) {
            self.warming.found();
        }
        let (_, registration) = slot.remove_entry();
        self.capacity.release_registration(registration.presence.memory());
    }

    /// Ends the sessions that have been idle for longer than their timeout, as lost.
    pub(crate) fn lose_idle(&self, now: Instant) {
        while let Some(cell) = self.idle.pop_idle(now) {
            if self.depart(&cell, Departure::Lost) {
                // Logged here, because the stream of a client that reads nothing may
                // never be polled again.
                info!(session = %cell.id, dataplane = %cell.dataplane.key, "idle for too long: lost");
                cell.notify(Notice::Idle);
            }
        }
    }

    /// Whether no lost dataplane is unregistered any longer, except to make room: the server
    /// stops, and dataplanes are expected back after the restart, which restores them.
    pub(crate) fn keeps_lost(&self) -> bool {
        self.draining.load(Relaxed) && self.journal.is_enabled()
    }

    /// Unregisters the lost dataplanes whose retention has ended.
    pub(crate) fn expire(&self, now: Instant) {
        while !self.keeps_lost()
            && let Some((deadline, key)) = self.retention.pop_expired(now)
        {
            self.expire_one(deadline, key);
        }
    }

    /// Unregisters the dataplane that has been lost for longest, of one mesh or of all, to
    /// make room. Returns false if none is lost.
    pub(crate) fn expire_oldest(&self, mesh: Option<&MeshName>) -> bool {
        // Nothing is unregistered if the dataplane has just reconnected: try the next one.
        while let Some((deadline, key)) = self.retention.pop_first(mesh) {
            if self.expire_one(deadline, key) {
                return true;
            }
        }
        false
    }

    /// Unregisters a dataplane that was removed from the retention queue, unless it has
    /// reconnected since.
    fn expire_one(&self, deadline: Instant, key: ByKey) -> bool {
        let Slot::Occupied(slot) = self.dataplanes.entry(key) else {
            return false;
        };
        let lost = slot.get().is_lost_until(deadline);
        if lost {
            self.unregister(slot, self.wall_clock());
        }
        lost
    }

    /// Sends [`Notice::Draining`] to all open sessions, and to each that opens later.
    pub(crate) fn drain(&self) {
        // Once, because the number of sessions falls while the clients leave.
        self.drain_spread.get_or_init(|| self.rate_limiter.time_to_admit(self.capacity.sessions()));
        self.draining.store(true, Relaxed);
        let connected = |registration: &Registration| match &registration.presence {
            Presence::Connected(cell) => Some(Arc::clone(cell)),
            Presence::Lost(_) => None,
        };
        let mut cells: Vec<_> = self.dataplanes.iter().filter_map(|slot| connected(slot.value())).collect();
        // In the order in which they opened: the map's order differs from run to run.
        cells.sort_unstable_by_key(|cell| cell.id);
        for cell in cells {
            cell.notify(Notice::Draining);
        }
    }
}
