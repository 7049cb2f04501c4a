//! What all handles share, and its transitions: registering, taking over,
//! flipping, leaving, being forgotten. Plain synchronous code; a dataplane is
//! locked through each, then the entries concerned, then the change log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

use dashmap::{
    DashMap,
    mapref::entry::{Entry as Slot, OccupiedEntry},
};
use tokio::time::Instant;

use super::{
    Full, RegistrySettings, Session, SessionId,
    admission::Admission,
    entries::{Entries, Entry, Locked, SHARDS},
    members::{Conflict, Delta, Place},
    retention::Retention,
    session::{Departure, SessionCell},
};
use crate::{
    changelog::ChangeLog,
    events::{EventLog, Reason},
    model::{Dataplane, DataplaneKey, MeshName, WorkloadKey},
};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: RegistrySettings,
    pub(super) dataplanes: DashMap<DataplaneKey, Registration>,
    pub(super) entries: Entries,
    pub(super) log: ChangeLog,
    pub(super) events: EventLog,
    admission: Admission,
    retention: Retention,
    sessions: AtomicU64,
    pub(super) watchers: AtomicUsize,
}

/// A registered dataplane.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) dataplane: Arc<Dataplane>,
    /// Where it is counted.
    entry: Arc<Entry>,
    pub(super) presence: Presence,
}

#[derive(Debug)]
pub(super) enum Presence {
    Connected(Arc<SessionCell>),
    /// The session ended without a goodbye; forgotten at the deadline.
    Lost {
        since: SystemTime,
        deadline: Instant,
    },
}

/// What a dataplane that comes adds: a registration and a session, and no
/// health until it reports.
const JOIN: Delta = Delta { connected: 1, healthy: 0, total: 1 };

impl Shared {
    pub(super) fn new(settings: RegistrySettings) -> Self {
        Self {
            dataplanes: DashMap::with_shard_amount(SHARDS),
            entries: Entries::new(),
            log: ChangeLog::new(settings.log_capacity),
            events: EventLog::default(),
            admission: Admission::new(&settings),
            retention: Retention::default(),
            sessions: AtomicU64::new(0),
            watchers: AtomicUsize::new(0),
            settings,
        }
    }

    pub(super) fn register(
        &self,
        dataplane: &Arc<Dataplane>,
        now: SystemTime,
    ) -> Result<(Arc<Entry>, Arc<SessionCell>), Full> {
        match self.dataplanes.entry(dataplane.key.clone()) {
            Slot::Vacant(slot) => {
                self.admission.enter(&dataplane.key.mesh, true)?;
                let entry = self.join(dataplane, now);
                let cell = self.new_cell(now);
                slot.insert(Registration {
                    dataplane: Arc::clone(dataplane),
                    entry: Arc::clone(&entry),
                    presence: Presence::Connected(Arc::clone(&cell)),
                });
                Ok((entry, cell))
            }
            Slot::Occupied(mut slot) => {
                let registration = slot.get_mut();
                match &registration.presence {
                    Presence::Connected(older) => older.supersede(),
                    Presence::Lost { deadline, .. } => {
                        self.admission.enter(&dataplane.key.mesh, false)?;
                        self.retention.remove(*deadline, &dataplane.key);
                    }
                }
                registration.entry = self.rejoin(registration, dataplane, now);
                registration.dataplane = Arc::clone(dataplane);
                let cell = self.new_cell(now);
                registration.presence = Presence::Connected(Arc::clone(&cell));
                Ok((Arc::clone(&registration.entry), cell))
            }
        }
    }

    /// Called while the dataplane is locked, so that of two sessions of one
    /// dataplane the newer has the greater number.
    fn new_cell(&self, now: SystemTime) -> Arc<SessionCell> {
        let id = SessionId(self.sessions.fetch_add(1, Relaxed) + 1);
        Arc::new(SessionCell::new(id, now))
    }

    /// Counts a dataplane that was not registered.
    fn join(&self, dataplane: &Dataplane, now: SystemTime) -> Arc<Entry> {
        let place = Place::of(dataplane);
        loop {
            let entry = self.entries.get_or_create(&place);
            let Some(mut locked) = self.entries.lock(&entry) else {
                continue;
            };
            self.count(&mut locked, dataplane, JOIN, now);
            drop(locked);
            return entry;
        }
    }

    /// Counts a change in a locked entry and publishes it, if it is visible.
    fn count(&self, locked: &mut Locked<'_>, dataplane: &Dataplane, delta: Delta, now: SystemTime) {
        let draft = locked.members().apply(dataplane, delta, now);
        let [published] = self.log.publish([draft]);
        locked.members().published(published);
    }

    /// Counts a dataplane that comes back, or whose newer session takes over;
    /// it may name another workload than before.
    fn rejoin(&self, before: &Registration, dataplane: &Dataplane, now: SystemTime) -> Arc<Entry> {
        let place = Place::of(dataplane);
        if *before.entry.place() == place {
            self.change(&before.entry, dataplane, now, || {
                let (connected, healthy) = before.presence.end();
                Some(Delta { connected: 1 - connected, healthy: -healthy, total: 0 })
            });
            return Arc::clone(&before.entry);
        }
        loop {
            let entry = self.entries.get_or_create(&place);
            let Some((mut left, mut joined)) = self.entries.lock_both(&before.entry, &entry) else {
                continue;
            };
            let (connected, healthy) = before.presence.end();
            let leave = Delta { connected: -connected, healthy: -healthy, total: -1 };
            let drafts = [
                left.members().apply(&before.dataplane, leave, now),
                joined.members().apply(dataplane, JOIN, now),
            ];
            let [of_left, of_joined] = self.log.publish(drafts);
            left.members().published(of_left);
            joined.members().published(of_joined);
            drop((left, joined));
            return entry;
        }
    }

    /// Changes the numbers of an entry that the dataplane is counted in, by
    /// what `delta` says once the entry is locked.
    fn change(
        &self,
        entry: &Arc<Entry>,
        dataplane: &Dataplane,
        now: SystemTime,
        delta: impl FnOnce() -> Option<Delta>,
    ) {
        // An entry is retired only after its last member left, and this one has not.
        let Some(mut locked) = self.entries.lock(entry) else {
            return;
        };
        if let Some(delta) = delta() {
            self.count(&mut locked, dataplane, delta, now);
        }
    }

    /// A session's dataplane has come to count as healthy, or ceased to.
    pub(super) fn flip(&self, session: &Session, healthy: bool) {
        self.change(&session.entry, &session.dataplane, SystemTime::now(), || {
            let delta = Delta { healthy: if healthy { 1 } else { -1 }, ..Delta::default() };
            session.cell.flip(healthy).then_some(delta)
        });
    }

    /// A session ends. Nothing happens if another has taken over, or if it has
    /// ended before.
    pub(super) fn depart(&self, session: &Session, departure: Departure) {
        let key = &session.dataplane.key;
        let Slot::Occupied(mut slot) = self.dataplanes.entry(key.clone()) else {
            return;
        };
        if !slot.get().has(&session.cell) {
            return;
        }
        self.admission.leave(&key.mesh);
        let now = SystemTime::now();
        if departure == Departure::Goodbye || self.settings.retention.is_zero() {
            self.unregister(slot, now);
            return;
        }
        self.change(&session.entry, &session.dataplane, now, || {
            let (connected, healthy) = slot.get().presence.end();
            Some(Delta { connected: -connected, healthy: -healthy, total: 0 })
        });
        let deadline = Instant::now() + self.settings.retention;
        slot.get_mut().presence = Presence::Lost { since: now, deadline };
        self.retention.add(deadline, key);
    }

    fn unregister(&self, slot: OccupiedEntry<'_, DataplaneKey, Registration>, now: SystemTime) {
        let registration = slot.get();
        self.change(&registration.entry, &registration.dataplane, now, || {
            let (connected, healthy) = registration.presence.end();
            Some(Delta { connected: -connected, healthy: -healthy, total: -1 })
        });
        self.admission.unregister();
        slot.remove();
    }

    /// Forgets lost dataplanes when their time has come, until dropped.
    pub(super) async fn sweep(&self) {
        loop {
            self.retention.wait().await;
            self.forget_due(Instant::now());
        }
    }

    fn forget_due(&self, now: Instant) {
        while let Some((deadline, key)) = self.retention.pop_due(now) {
            self.forget(deadline, key);
        }
    }

    /// Makes room before its time; false if nobody is lost.
    pub(super) fn forget_oldest_lost(&self) -> bool {
        let oldest = self.retention.pop_first();
        oldest.is_some_and(|(deadline, key)| self.forget(deadline, key))
    }

    /// Unregisters a dataplane that was taken off the list, unless it has come
    /// back, and even been lost anew, since.
    fn forget(&self, due: Instant, key: DataplaneKey) -> bool {
        if let Slot::Occupied(slot) = self.dataplanes.entry(key)
            && matches!(slot.get().presence, Presence::Lost { deadline, .. } if deadline == due)
        {
            self.unregister(slot, SystemTime::now());
            return true;
        }
        false
    }

    /// Records that several meshes name one workload, and says it to a person.
    pub(super) fn warn(&self, mesh: &MeshName, conflict: Conflict, now: SystemTime) -> String {
        let Conflict { key, holder, meshes } = conflict;
        let WorkloadKey { namespace, name } = &key;
        let message = format!(
            "Skipping Workload generation: namespace {namespace} has dataplanes in multiple meshes ({meshes} meshes) \
             for workload {name}. This configuration is not supported."
        );
        let because = match &holder {
            Some(holder) => format!("mesh {holder} holds the name"),
            None => "no mesh holds the name while several use it".to_owned(),
        };
        let warning =
            format!("{message} Dataplanes of mesh {mesh} are not counted: {because}. Use one mesh per name.");
        self.events.record(Reason::MultipleMeshesDetected, &key, holder, message, now);
        warning
    }
}

impl Registration {
    fn has(&self, cell: &Arc<SessionCell>) -> bool {
        matches!(&self.presence, Presence::Connected(current) if Arc::ptr_eq(current, cell))
    }
}

impl Presence {
    /// Under the entry's lock: ends a session, and says what it contributed to
    /// `connected` and `healthy`.
    fn end(&self) -> (i32, i32) {
        match self {
            Self::Connected(cell) => (1, cell.end().into()),
            Self::Lost { .. } => (0, 0),
        }
    }
}
