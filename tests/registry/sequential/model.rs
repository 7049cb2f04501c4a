//! The naive model: the registered dataplanes, and the facts that depend on history (holders,
//! lifetimes). Everything else is recounted after each transition.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use headcount::{
    model::Counts,
    registry::{Notice, SessionId},
};
use tokio::time::Instant;

use super::ops::Setting;
use crate::{
    domain::{Identity, Key, Name, ReportedHealth, Statement},
    filter_case::Attributes,
};

/// How long a goodbye is remembered.
const MEMORY: Duration = Duration::from_mins(1);

/// All Workloads at one revision.
pub(super) type Workloads = BTreeMap<Key, ModelWorkload>;

/// What can be read of a Workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ModelWorkload {
    pub(super) mesh: Name,
    /// Differs for each lifetime of the name; stands for the uid.
    pub(super) lifetime: u64,
    /// The zone of its dataplanes; none if they name none or differ.
    pub(super) zone: Option<Name>,
    /// Whether its dataplanes are Pods; none if they differ.
    pub(super) kubernetes: Option<bool>,
    pub(super) counts: Counts,
    /// Its revision is greater than the first and at most the second: the order of two Workloads
    /// within one step is not specified.
    pub(super) revision: (u64, u64),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Registered {
    pub(super) statement: Statement,
    /// The attempt of the latest session, and when it began.
    attempt: u32,
    opened: Instant,
    pub(super) presence: Presence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Connected { session: SessionId, last: Option<(u64, ReportedHealth)> },
    Lost { deadline: Instant },
}

/// The dataplanes of one mesh that name one workload, or none: namespace, workload, mesh.
pub(super) type Group = (Name, Option<Name>, Name);

#[derive(Debug)]
pub(super) struct Model {
    pub(super) setting: Setting,
    pub(super) registered: BTreeMap<Identity, Registered>,
    /// The number of attempts of each dataplane's agent.
    attempts: BTreeMap<Identity, u32>,
    /// The last registration of each dataplane that ended, and when it is forgotten.
    departed: BTreeMap<Identity, (Registered, Instant)>,
    pub(super) draining: bool,
    /// The mesh that holds each name.
    holders: BTreeMap<Key, Name>,
    /// Number of lifetimes so far.
    lifetimes: u64,
    /// The Workloads from each revision on that ended a step.
    past: BTreeMap<u64, Workloads>,
    /// Number of warnings about each contested name.
    pub(super) warnings: BTreeMap<Key, u64>,
}

impl Model {
    pub(super) fn new(setting: Setting) -> Self {
        Self {
            setting,
            registered: BTreeMap::new(),
            attempts: BTreeMap::new(),
            departed: BTreeMap::new(),
            draining: false,
            holders: BTreeMap::new(),
            lifetimes: 0,
            past: BTreeMap::from([(0, Workloads::new())]),
            warnings: BTreeMap::new(),
        }
    }

    /// The newest revision, and the Workloads at it.
    pub(super) fn now(&self) -> (u64, &Workloads) {
        let (revision, workloads) = self.past.last_key_value().expect("revision 0 at least");
        (*revision, workloads)
    }

    /// The Workloads at a revision; none if it is in the middle of a step.
    pub(super) fn at(&self, revision: u64) -> Option<&Workloads> {
        self.past.get(&revision)
    }

    /// Whether the change log has all changes after a revision.
    pub(super) fn log_reaches(&self, revision: u64) -> bool {
        self.now().0 - revision <= self.setting.log_capacity as u64
    }

    /// The attempt of a hello that arrives after so many later ones.
    pub(super) fn attempt(&mut self, identity: Identity, late: u8) -> u32 {
        let attempts = self.attempts.entry(identity).or_insert(10);
        *attempts += 1;
        *attempts - u32::from(late)
    }

    /// The registration with which a hello is compared: the present one, or one that ended in the last
    /// minute.
    fn latest(&self, identity: Identity, now: Instant) -> Vec<Registered> {
        let departed = self.departed.get(&identity).filter(|(_, until)| now < *until).map(|(last, _)| *last);
        self.registered.get(&identity).copied().into_iter().chain(departed).collect()
    }

    /// Whether a later attempt has connected.
    pub(super) fn is_stale(&self, identity: Identity, attempt: u32, now: Instant) -> bool {
        self.latest(identity, now).iter().any(|latest| attempt < latest.attempt)
    }

    /// When a hello that arrives now connects. One that waits extends the memory of the last goodbye.
    pub(super) fn connect_at(&mut self, identity: Identity, now: Instant) -> Instant {
        let opened = self.latest(identity, now).iter().map(|latest| latest.opened).max();
        let connect_at = opened.map_or(now, |opened| opened + self.setting.flap_interval).max(now);
        if connect_at > now
            && let Some((_, until)) = self.departed.get_mut(&identity)
            && now < *until
        {
            *until = now + MEMORY;
        }
        connect_at
    }

    /// The latest notice of a session.
    pub(super) fn notice(&self, id: SessionId) -> Option<Notice> {
        let current = self.registered.values().any(
            |registered| matches!(registered.presence, Presence::Connected { session, .. } if session == id),
        );
        if current { self.draining.then_some(Notice::Draining) } else { Some(Notice::Superseded) }
    }

    /// Whether a hello exceeds a limit.
    pub(super) fn exceeds_limit(&self, identity: Identity) -> bool {
        let connected = |identity: &Identity| {
            let registered = self.registered.get(identity);
            registered.is_some_and(|registered| matches!(registered.presence, Presence::Connected { .. }))
        };
        if connected(&identity) {
            return false;
        }
        let sessions = || self.registered.keys().filter(|identity| connected(identity));
        let of_mesh = sessions().filter(|other| other.mesh == identity.mesh).count();
        let new = !self.registered.contains_key(&identity);
        sessions().count() >= self.setting.max_sessions
            || of_mesh >= self.setting.max_sessions_per_mesh
            || new && self.is_full() && self.oldest_lost().is_none()
    }

    fn is_full(&self) -> bool {
        self.registered.len() >= self.setting.max_dataplanes
    }

    /// The lost dataplane that expires first, which is evicted to make room for a new one.
    fn oldest_lost(&self) -> Option<Identity> {
        let lost = self.registered.iter().filter_map(|(identity, registered)| match registered.presence {
            Presence::Lost { deadline } => {
                Some((deadline, identity.mesh, identity.namespace, identity.name, *identity))
            }
            Presence::Connected { .. } => None,
        });
        lost.min_by(|a, b| (a.0, a.1, a.2, a.3).cmp(&(b.0, b.1, b.2, b.3))).map(|oldest| oldest.4)
    }

    /// Returns whether the hello gets a warning because another mesh holds or shares the name.
    pub(super) fn hello(
        &mut self,
        identity: Identity,
        statement: Statement,
        attempt: u32,
        session: SessionId,
    ) -> bool {
        if !self.registered.contains_key(&identity)
            && self.is_full()
            && let Some(oldest) = self.oldest_lost()
        {
            self.registered.remove(&oldest);
            self.step();
        }
        let presence = Presence::Connected { session, last: None };
        let opened = Instant::now();
        self.registered.insert(identity, Registered { statement, attempt, opened, presence });
        self.step();
        let Some(key) = statement.key(identity) else {
            return false;
        };
        let warned = self.meshes()[&key].len() > 1 && self.holders.get(&key) != Some(&identity.mesh);
        if warned {
            *self.warnings.entry(key).or_default() += 1;
        }
        warned
    }

    pub(super) fn report(&mut self, by: SessionId, sequence: u64, health: ReportedHealth) {
        for registered in self.registered.values_mut() {
            if let Presence::Connected { session, last } = &mut registered.presence
                && *session == by
            {
                *last = Some((sequence, health));
            }
        }
        self.step();
    }

    pub(super) fn goodbye(&mut self, by: SessionId, now: Instant) {
        let departs = |registered: &Registered| matches!(registered.presence, Presence::Connected { session, .. } if session == by);
        let departed = self.registered.iter().filter(|(_, registered)| departs(registered));
        let departed = departed.map(|(identity, registered)| (*identity, (*registered, now + MEMORY)));
        self.departed.extend(departed);
        self.registered.retain(|_, registered| !departs(registered));
        self.step();
    }

    pub(super) fn disconnect(&mut self, by: SessionId, now: Instant) {
        if self.setting.retention == Duration::ZERO && !self.draining {
            return self.goodbye(by, now);
        }
        let deadline = now + self.setting.retention;
        for registered in self.registered.values_mut() {
            if matches!(registered.presence, Presence::Connected { session, .. } if session == by) {
                registered.presence = Presence::Lost { deadline };
            }
        }
        self.step();
    }

    /// Removes lost dataplanes whose retention is over, one step for each; none while the server drains,
    /// because a restart restores them.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.draining {
            return;
        }
        let mut due = BTreeSet::new();
        for (identity, registered) in &self.registered {
            if let Presence::Lost { deadline } = registered.presence
                && deadline <= now
            {
                due.insert((deadline, *identity));
            }
        }
        for (_, identity) in due {
            self.registered.remove(&identity);
            self.step();
        }
    }

    /// The counts of each group.
    pub(super) fn groups(&self) -> BTreeMap<Group, Counts> {
        let mut groups = BTreeMap::<Group, Counts>::new();
        for (identity, registered) in &self.registered {
            let group = (identity.namespace, registered.statement.workload, identity.mesh);
            let counts = groups.entry(group).or_default();
            counts.total += 1;
            counts.connected += u32::from(matches!(registered.presence, Presence::Connected { .. }));
            counts.healthy += u32::from(registered.is_healthy());
        }
        groups
    }

    /// The meshes that use each name.
    pub(super) fn meshes(&self) -> BTreeMap<Key, BTreeSet<Name>> {
        let mut meshes = BTreeMap::<Key, BTreeSet<Name>>::new();
        for (identity, registered) in &self.registered {
            if let Some(key) = registered.statement.key(*identity) {
                meshes.entry(key).or_default().insert(identity.mesh);
            }
        }
        meshes
    }

    /// The statements of all dataplanes of a group.
    fn statements(&self, group: Group) -> impl Iterator<Item = Statement> + '_ {
        let of_group = move |(identity, registered): (&Identity, &Registered)| {
            let own = (identity.namespace, registered.statement.workload, identity.mesh);
            (own == group).then_some(registered.statement)
        };
        self.registered.iter().filter_map(of_group)
    }

    /// Completes a transition: updates holders, and records the Workloads.
    fn step(&mut self) {
        let groups = self.groups();
        let meshes = self.meshes();
        self.holders.retain(|key, mesh| meshes.get(key).is_some_and(|meshes| meshes.contains(mesh)));
        for (key, meshes) in &meshes {
            if meshes.len() == 1 {
                let alone = meshes.first().expect("one");
                self.holders.entry(*key).or_insert(alone);
            }
        }
        self.record(&groups);
    }

    /// Each Workload that has changed takes one revision, or two if it is another object under the
    /// same name. No other Workload takes one.
    fn record(&mut self, groups: &BTreeMap<Group, Counts>) {
        let (head, before) = self.now();
        let mut after = Workloads::new();
        let mut lifetimes = self.lifetimes;
        for (key, mesh) in &self.holders {
            let group = (key.0, Some(key.1), *mesh);
            let counts = groups[&group];
            let zone = common(self.statements(group).map(|statement| statement.zone));
            let zone = zone.filter(|zone| !zone.is_empty());
            let kubernetes = common(self.statements(group).map(|statement| statement.kubernetes));
            let workload = match before.get(key) {
                Some(old) if old.mesh == *mesh => ModelWorkload { zone, kubernetes, counts, ..*old },
                _ => {
                    lifetimes += 1;
                    ModelWorkload { mesh, lifetime: lifetimes, zone, kubernetes, counts, revision: (0, 0) }
                }
            };
            after.insert(*key, workload);
        }
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
        let changed: Vec<_> = keys.into_iter().filter(|key| before.get(key) != after.get(key)).collect();
        let revisions = |key| match (before.get(key), after.get(key)) {
            (Some(old), Some(new)) if old.lifetime != new.lifetime => 2,
            _ => 1,
        };
        let new_head = head + changed.iter().map(revisions).sum::<u64>();
        for key in changed {
            if let Some(workload) = after.get_mut(&key) {
                workload.revision = (head, new_head);
            }
        }
        self.lifetimes = lifetimes;
        self.past.insert(new_head, after);
    }
}

impl Registered {
    pub(super) fn is_healthy(&self) -> bool {
        match self.presence {
            Presence::Connected { last: Some((_, health)), .. } => health.is_healthy(self.statement.inbounds),
            _ => false,
        }
    }
}

impl ModelWorkload {
    pub(super) fn attributes(&self, (namespace, name): Key) -> Attributes<'static> {
        Attributes { namespace, name, mesh: self.mesh, zone: self.zone, kubernetes: self.kubernetes }
    }
}

/// The value of all items, if they are equal.
fn common<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}
