//! What all handles share, and its transitions: registering, taking over,
//! flipping, leaving, being forgotten. Plain synchronous code; a dataplane is
//! locked through each, then the entries concerned, then the change log.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep};
use tracing::info;

use super::{
    Full, RegistrySettings, Session, SessionId,
    admission::Admission,
    entries::{Entries, Entry, Locked},
    gate::Gate,
    members::{Conflict, Delta, Place},
    retention::Retention,
    session::{Departure, Notice, SessionCell},
    shards::{Keyed, Shard, Shards},
    silence::Silence,
    step::Steps,
    view::Snapshots,
};
use crate::{
    model::{Attempt, Dataplane, DataplaneKey, MeshName, WorkloadKey},
    registry::changelog::ChangeLog,
    registry::events::{EventLog, Reason, Regarding},
    runtime::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// Between two looks for silent sessions: soon enough for times in seconds, and
/// ten thousand sessions cost ten awakenings a second, not one each.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: RegistrySettings,
    pub(super) dataplanes: Shards<Registration>,
    pub(super) entries: Entries,
    pub(super) log: ChangeLog,
    pub(super) steps: Steps,
    pub(super) snapshots: Snapshots,
    pub(super) events: EventLog,
    pub(super) gate: Gate,
    pub(super) admission: Admission,
    retention: Retention,
    pub(super) silence: Silence,
    draining: AtomicBool,
    sessions: AtomicU64,
    pub(super) watchers: AtomicUsize,
}

/// A registered dataplane. A million of them are in memory: 32 bytes each.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) dataplane: Arc<Dataplane>,
    /// Where it is counted.
    entry: Arc<Entry>,
    pub(super) presence: Presence,
}

impl Keyed for Registration {
    type Key = DataplaneKey;
    fn key(&self) -> &DataplaneKey {
        &self.dataplane.key
    }
}

#[derive(Debug)]
pub(super) enum Presence {
    Connected(Arc<SessionCell>),
    /// The session ended without a goodbye. Few are lost at a time, so they
    /// have their own memory.
    Lost(Box<Loss>),
}

#[derive(Debug)]
pub(super) struct Loss {
    pub(super) since: SystemTime,
    /// When the session began that was lost.
    opened: Instant,
    /// When the dataplane is forgotten.
    deadline: Instant,
}

/// A dataplane that was not let in, given back.
pub(super) struct Refused {
    pub(super) why: Full,
    pub(super) dataplane: Dataplane,
}

impl Shared {
    pub(super) fn new(settings: RegistrySettings) -> Self {
        Self {
            dataplanes: Shards::new(),
            entries: Entries::new(),
            log: ChangeLog::new(settings.log_capacity),
            steps: Steps::default(),
            snapshots: Snapshots::default(),
            events: EventLog::default(),
            gate: Gate::new(settings.max_session_rate),
            admission: Admission::new(&settings),
            retention: Retention::default(),
            silence: Silence::new(),
            draining: AtomicBool::new(false),
            sessions: AtomicU64::new(0),
            watchers: AtomicUsize::new(0),
            settings,
        }
    }

    /// Registers a dataplane and opens its session, by takeover if it has one.
    pub(super) fn register(
        self: &Arc<Self>,
        dataplane: Dataplane,
        attempt: Attempt,
        now: SystemTime,
    ) -> Result<Session, Refused> {
        let key = dataplane.key.clone();
        let mut shard = self.dataplanes.lock(&key);
        let known = shard.get_mut(&key);
        if let Some(known) = &known
            && known.is_newer_than(attempt)
        {
            return Ok(self.belated(known, attempt, now));
        }
        let admitted = match &known {
            None => self.admission.enter(&key.mesh, true),
            Some(Registration { presence: Presence::Connected(_), .. }) => Ok(()),
            Some(Registration { presence: Presence::Lost(_), .. }) => self.admission.enter(&key.mesh, false),
        };
        if let Err(why) = admitted {
            return Err(Refused { why, dataplane });
        }
        let (dataplane, entry) = match &known {
            None => self.join(dataplane, now),
            Some(registration) => self.rejoin(registration, dataplane, now),
        };
        let session = self.session(&dataplane, &entry, attempt, now);
        let presence = Presence::Connected(Arc::clone(&session.cell));
        let registration = Registration { dataplane, entry, presence };
        match known {
            None => {
                shard.get_or_insert_with(&key, || registration);
            }
            Some(known) => match std::mem::replace(known, registration).presence {
                Presence::Connected(older) => older.tell(Notice::Superseded),
                Presence::Lost(loss) => self.retention.remove(loss.deadline, &key),
            },
        }
        // Whoever comes while the drain walks over the shards is told by one or the other.
        if self.draining.load(Relaxed) {
            session.cell.tell(Notice::Draining);
        }
        Ok(session)
    }

    /// The session of a hello that a network has held back until its agent had
    /// another one: it counts for nothing.
    fn belated(self: &Arc<Self>, known: &Registration, attempt: Attempt, now: SystemTime) -> Session {
        let session = self.session(&known.dataplane, &known.entry, attempt, now);
        session.cell.end();
        session.cell.tell(Notice::Superseded);
        session
    }

    /// A new session, which is not registered yet.
    fn session(
        self: &Arc<Self>,
        dataplane: &Arc<Dataplane>,
        entry: &Arc<Entry>,
        attempt: Attempt,
        now: SystemTime,
    ) -> Session {
        let id = SessionId(self.sessions.fetch_add(1, Relaxed) + 1);
        let cell = SessionCell::new(id, attempt, now, Arc::clone(dataplane));
        Session { registry: Arc::clone(self), entry: Arc::clone(entry), cell: Arc::new(cell) }
    }

    /// Counts a dataplane that was not registered.
    fn join(&self, dataplane: Dataplane, now: SystemTime) -> (Arc<Dataplane>, Arc<Entry>) {
        let place = Place::of(&dataplane);
        loop {
            let entry = self.entries.get_or_create(&place);
            let Some(mut locked) = self.entries.lock(&entry) else {
                continue;
            };
            let dataplane = locked.members().keep(dataplane);
            let draft = locked.members().join(&dataplane, now);
            let [published] = self.log.publish([draft]);
            locked.members().published(published);
            drop(locked);
            return (dataplane, entry);
        }
    }

    /// Counts a dataplane that comes back, or whose newer session takes over;
    /// it may name another workload than before.
    fn rejoin(
        &self,
        before: &Registration,
        dataplane: Dataplane,
        now: SystemTime,
    ) -> (Arc<Dataplane>, Arc<Entry>) {
        let place = Place::of(&dataplane);
        if *before.entry.place() == place {
            let mut locked = self.lock_own(&before.entry);
            let dataplane = locked.members().keep(dataplane);
            let (connected, healthy) = before.presence.end();
            let delta = Delta { connected: 1 - connected, healthy: -healthy, total: 0 };
            self.count(&mut locked, &dataplane, delta, now);
            return (dataplane, Arc::clone(&before.entry));
        }
        loop {
            let entry = self.entries.get_or_create(&place);
            let Some((mut left, mut joined)) = self.entries.lock_both(&before.entry, &entry) else {
                continue;
            };
            let (connected, healthy) = before.presence.end();
            let leave = Delta { connected: -connected, healthy: -healthy, total: -1 };
            let dataplane = joined.members().keep(dataplane);
            let drafts =
                [left.members().apply(&before.dataplane, leave, now), joined.members().join(&dataplane, now)];
            let [of_left, of_joined] = self.log.publish(drafts);
            left.members().published(of_left);
            joined.members().published(of_joined);
            drop((left, joined));
            return (dataplane, entry);
        }
    }

    /// Locks an entry that the caller's dataplane is counted in and can't leave
    /// meanwhile, because the dataplane is locked too.
    fn lock_own<'a>(&'a self, entry: &'a Arc<Entry>) -> Locked<'a> {
        self.entries.lock(entry).expect("an entry is retired only after its last member left")
    }

    /// Counts a change in a locked entry and publishes it, if it is visible.
    fn count(&self, locked: &mut Locked<'_>, member: &Dataplane, delta: Delta, now: SystemTime) {
        let draft = locked.members().apply(member, delta, now);
        let [published] = self.log.publish([draft]);
        locked.members().published(published);
    }

    /// A session's dataplane has come to count as healthy, or ceased to.
    pub(super) fn flip(&self, session: &Session, healthy: bool) {
        // Retired: the dataplane has left it, so this session no longer counts.
        let Some(mut locked) = self.entries.lock(&session.entry) else {
            return;
        };
        if session.cell.flip(healthy) {
            let delta = Delta { healthy: if healthy { 1 } else { -1 }, ..Delta::default() };
            self.count(&mut locked, &session.cell.dataplane, delta, self.now());
        }
    }

    /// A session ends. Nothing happens if another has taken over, or if it has
    /// ended before: then it returns false.
    pub(super) fn depart(&self, cell: &Arc<SessionCell>, departure: Departure) -> bool {
        self.silence.forget(cell);
        let key = &cell.dataplane.key;
        let mut shard = self.dataplanes.lock(key);
        let Some(registration) = shard.get_mut(key).filter(|registration| registration.has(cell)) else {
            return false;
        };
        self.admission.leave(&key.mesh);
        let now = self.now();
        if departure == Departure::Goodbye || self.settings.retention.is_zero() {
            self.unregister(shard, key, now);
            return true;
        }
        let mut locked = self.lock_own(&registration.entry);
        let (connected, healthy) = registration.presence.end();
        let delta = Delta { connected: -connected, healthy: -healthy, total: 0 };
        self.count(&mut locked, &cell.dataplane, delta, now);
        drop(locked);
        let deadline = Instant::now() + self.settings.retention;
        let opened = cell.opened;
        registration.presence = Presence::Lost(Box::new(Loss { since: now, opened, deadline }));
        self.retention.add(deadline, key);
        true
    }

    /// Counts sessions as lost that say nothing for too long, until dropped.
    pub(super) async fn notice_silence(&self) {
        loop {
            self.silence.wait().await;
            self.lose_silent(Instant::now());
            sleep(BETWEEN_LOOKS).await;
        }
    }

    pub(super) fn lose_silent(&self, now: Instant) {
        while let Some(cell) = self.silence.pop_silent(now) {
            if self.depart(&cell, Departure::Lost) {
                // Its stream may never hear of it: a client that reads nothing
                // is not read from either.
                info!(session = %cell.id, dataplane = %cell.dataplane.key, "silent for too long: lost");
                cell.tell(Notice::Silent);
            }
        }
    }

    /// Tells all sessions to go, and all that come later.
    pub(super) fn drain(&self) {
        self.draining.store(true, Relaxed);
        let mut cells = Vec::new();
        self.dataplanes.for_each(|registration| {
            if let Presence::Connected(cell) = &registration.presence {
                cells.push(Arc::clone(cell));
            }
        });
        // In the order in which they came: the shards' own is another each time.
        cells.sort_unstable_by_key(|cell| cell.id);
        for cell in cells {
            cell.tell(Notice::Draining);
        }
    }

    /// Takes a registered dataplane off its locked shard and its entry.
    fn unregister(&self, mut shard: Shard<'_, Registration>, key: &DataplaneKey, now: SystemTime) {
        let Some(Registration { dataplane, entry, presence }) = shard.remove_if(key, |_| true) else {
            return;
        };
        let mut locked = self.lock_own(&entry);
        let (connected, healthy) = presence.end();
        let delta = Delta { connected: -connected, healthy: -healthy, total: -1 };
        self.count(&mut locked, &dataplane, delta, now);
        drop(locked);
        self.admission.unregister();
    }

    /// The time of day, for people: nothing is decided by it.
    pub(super) fn now(&self) -> SystemTime {
        (self.settings.wall_clock)()
    }

    /// Forgets lost dataplanes when their time has come, until dropped.
    pub(super) async fn sweep(&self) {
        loop {
            self.retention.wait().await;
            self.forget_due(Instant::now());
        }
    }

    pub(super) fn forget_due(&self, now: Instant) {
        while let Some((deadline, key)) = self.retention.pop_due(now) {
            self.forget(deadline, &key);
        }
    }

    /// Makes room before its time; false if nobody is lost.
    pub(super) fn forget_oldest_lost(&self) -> bool {
        // Who has just come back makes no room, and the next one may.
        while let Some((deadline, key)) = self.retention.pop_first() {
            if self.forget(deadline, &key) {
                return true;
            }
        }
        false
    }

    /// Unregisters a dataplane that was taken off the list, unless it has come
    /// back, and even been lost anew, since.
    fn forget(&self, due: Instant, key: &DataplaneKey) -> bool {
        let shard = self.dataplanes.lock(key);
        let still = |loss: &Loss| loss.deadline == due;
        let lost =
            shard.get(key).is_some_and(|it| matches!(&it.presence, Presence::Lost(loss) if still(loss)));
        if lost {
            self.unregister(shard, key, self.now());
        }
        lost
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
        self.events.record(Reason::MultipleMeshesDetected, Regarding::Workload(key), holder, message, now);
        warning
    }
}

impl Registration {
    /// Whether it has a session of the same agent's that was begun after an attempt.
    fn is_newer_than(&self, attempt: Attempt) -> bool {
        matches!(&self.presence, Presence::Connected(current) if attempt.is_before(current.attempt))
    }

    fn has(&self, cell: &Arc<SessionCell>) -> bool {
        matches!(&self.presence, Presence::Connected(current) if Arc::ptr_eq(current, cell))
    }
}

impl Presence {
    /// When the newest session began.
    pub(super) fn opened(&self) -> Instant {
        match self {
            Self::Connected(cell) => cell.opened,
            Self::Lost(loss) => loss.opened,
        }
    }

    /// Under the entry's lock: ends a session, and says what it contributed to
    /// `connected` and `healthy`.
    fn end(&self) -> (i32, i32) {
        match self {
            Self::Connected(cell) => (1, cell.end().into()),
            Self::Lost(_) => (0, 0),
        }
    }
}
