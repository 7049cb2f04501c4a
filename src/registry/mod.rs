//! The registry: the one truth about who is registered, connected and healthy.
//!
//! ```text
//!   hello ─► dataplanes (who is registered, who has the session)
//!                │  Delta
//!                ▼
//!            entries ─► Members (counting, single mesh) ─► Draft
//!                                                            ▼
//!   Get, List, Watch, metrics ◄───────────────────────── change log
//! ```
//!
//! It knows nothing of gRPC, HTTP or Prometheus. Every transition is plain
//! synchronous code. Locks are taken in the order dataplane, entry, change log,
//! and none is held across an await.

mod admission;
pub mod changelog;
mod entries;
pub mod events;
mod gate;
mod members;
mod pace;
mod recent;
mod retention;
mod session;
mod shards;
mod shared;
mod silence;
mod step;
pub mod token;
mod view;
mod watcher;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use self::{
    gate::Who,
    shared::{Refused, Shared},
};
use crate::{
    model::{Attempt, Dataplane, DataplaneKey},
    registry::events::{EventLog, Reason, Regarding, Stranger},
};

pub use self::{
    admission::Full,
    gate::Caller,
    pace::{Paced, Taken},
    session::{Notice, Session, SessionId},
    silence::Endurance,
    step::{Encoding, Step, Told},
    view::{DataplaneView, GroupView, Page, PageError, Snapshot},
    watcher::{Position, WatchPermit, Watcher},
};

/// Settings of the registry. The reason for each default stands with it.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// How long a lost dataplane stays registered. 15 min is long enough for an
    /// operator to see the loss, short enough that a fleet which changes its
    /// names with each deployment is not counted twice for long.
    pub retention: Duration,
    /// Changes that the log remembers: more than a minute of a mesh that changes
    /// 1,000 times a second, in some 15 MB when full.
    pub log_capacity: usize,
    /// Registered dataplanes, connected or not: twice the sessions, because each
    /// may leave one lost registration behind.
    pub max_dataplanes: usize,
    /// Connected dataplanes: ten times the 10,000 of a large mesh, in some 3 GB
    /// of connections.
    pub max_sessions: usize,
    /// Connected dataplanes of one mesh: half, so that one mesh gone wild leaves
    /// room for the others.
    pub max_sessions_per_mesh: usize,
    /// Watch streams. Each wakes once for each batch of changes.
    pub max_watchers: usize,
    /// New sessions in a second, and as many at once after a quiet time: about
    /// what one core can do beside its other work, and ten thousand proxies are
    /// back 2 s after a restart if the network lets them.
    pub max_session_rate: usize,
    /// Between visible changes of one dataplane's health: soon enough for
    /// people and load balancers, and a proxy that flaps as fast as it can
    /// makes ten changes a second, not ten thousand. Zero lets all through.
    pub flap_interval: Duration,
    /// How often a quiet watcher hears that it is up to date: often enough that
    /// its resume token stays within the log.
    pub bookmark_interval: Duration,
    /// After which revision the first change comes. `headcount serve` says the
    /// time of day, so that no reader's position in an earlier life of the server
    /// can be taken for one in this.
    pub first_revision: u64,
    /// The time of day, for people who read when something happened. Nothing is
    /// decided by it, so it may leap.
    pub wall_clock: fn() -> SystemTime,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            retention: Duration::from_mins(15),
            log_capacity: 65_536,
            max_dataplanes: 200_000,
            max_sessions: 100_000,
            max_sessions_per_mesh: 50_000,
            max_watchers: 10_000,
            max_session_rate: 5_000,
            flap_interval: Duration::from_millis(100),
            bookmark_interval: Duration::from_mins(1),
            first_revision: 0,
            wall_clock: SystemTime::now,
        }
    }
}

/// A handle on the registry; clones share it.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

/// What a dataplane hears when it is let in.
#[derive(Debug)]
pub struct Welcome {
    /// Keep it: dropping it is the disconnect.
    pub session: Session,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Registry {
    /// An empty registry, at the start of an epoch. [`Registry::run`] must run
    /// beside it for watchers to wake, and for silence and retention to end.
    pub fn new(settings: RegistrySettings) -> Self {
        let first = settings.first_revision;
        let shared = Shared::new(settings);
        shared.log.begin_after(first);
        shared.events.begin_after(first);
        Self { shared: Arc::new(shared) }
    }

    /// Wakes watchers, loses who is silent and ends retention, until dropped.
    pub async fn run(&self) {
        tokio::join!(self.shared.log.carry_news(), self.shared.sweep(), self.shared.notice_silence());
    }

    /// Tells all sessions that the server is about to end, and all that begin
    /// later.
    pub fn drain(&self) {
        self.shared.drain();
    }

    /// Whether anybody could be let in now: to be asked before a hello is read,
    /// so that those who must be sent away cost next to nothing.
    pub fn gate(&self, caller: Caller) -> Result<(), Full> {
        self.shared.gate.enter(Who::Anybody, caller, Instant::now())
    }

    /// Lets a dataplane in by the rate of new sessions, those first who are
    /// registered already, and says when its [`hello`](Registry::hello) may be
    /// taken: at once, unless its last one was only just now. One that connects
    /// over and over can't flood either.
    pub fn admit(&self, key: &DataplaneKey, caller: Caller) -> Result<Instant, Full> {
        let now = Instant::now();
        let known = self.shared.dataplanes.lock(key).get(key).map(|known| known.presence.opened());
        let who = if known.is_some() { Who::Known } else { Who::Stranger };
        self.shared.gate.enter(who, caller, now)?;
        Ok(known.map_or(now, |opened| opened + self.shared.settings.flap_interval))
    }

    /// How long it takes to let everybody in again who is connected now.
    pub fn time_to_return(&self) -> Duration {
        self.shared.gate.time_for(self.shared.admission.sessions())
    }

    /// Registers a dataplane and opens its session. A session that it has
    /// already is taken over.
    pub fn hello(&self, dataplane: Dataplane) -> Result<Welcome, Full> {
        self.hello_of(dataplane, Attempt::default())
    }

    /// Like [`hello`](Registry::hello), of an agent that counts its attempts. One
    /// that comes after a later one was taken over before it began.
    pub fn hello_of(&self, dataplane: Dataplane, attempt: Attempt) -> Result<Welcome, Full> {
        let now = self.shared.now();
        let mut registered = self.shared.register(dataplane, attempt, now);
        // Who is here counts more than the memory of who is gone. Somebody else
        // may take the room that was made.
        while let Err(Refused { why: Full::Dataplanes { .. }, .. }) = &registered
            && self.shared.forget_oldest_lost()
        {
            registered = registered.or_else(|refused| self.shared.register(refused.dataplane, attempt, now));
        }
        let session = registered.map_err(|refused| refused.why)?;
        let mesh = &session.dataplane().key.mesh;
        let conflict = session.entry.read(|members| members.conflict(mesh));
        let warnings = conflict.map(|conflict| self.shared.warn(mesh, conflict, now));
        Ok(Welcome { session, warnings: warnings.into_iter().collect() })
    }

    /// Has a session report at a pace that others can bear, and count as lost
    /// once it says nothing for longer than it may.
    pub fn pace(&self, session: Session, endurance: Endurance) -> Paced {
        self.shared.silence.listen(&session.cell, endurance);
        Paced::new(session, self.shared.settings.flap_interval)
    }

    /// Records for its person that a proxy was not let in.
    pub fn record_refusal(&self, who: Stranger, why: String) {
        let regarding = Regarding::Proxy(who);
        self.shared.events.record(Reason::DataplaneRefused, regarding, None, why, self.shared.now());
    }

    /// Warnings that were recorded.
    pub fn events(&self) -> &EventLog {
        &self.shared.events
    }

    /// Names this life of the registry.
    pub fn epoch(&self) -> &str {
        self.shared.log.epoch()
    }

    /// The newest revision.
    pub fn head(&self) -> u64 {
        self.shared.log.head()
    }

    /// Wakes whenever a Workload has changed. Subscribe before you look.
    pub fn subscribe(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.log.subscribe()
    }
}

#[cfg(all(test, shuttle))]
mod races;
#[cfg(test)]
mod tests;
