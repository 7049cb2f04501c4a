//! The naive model: who is registered, and three facts that history leaves
//! behind. Everything else is counted anew after each transition.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use headcount::{model::Counts, registry::SessionId};
use tokio::time::Instant;

use super::ops::Setting;
use crate::{
    lens::Traits,
    world::{Key, Name, Pulse, Statement, Who},
};

/// All Workloads at one revision.
pub(super) type Picture = BTreeMap<Key, Seen>;

/// What readers see of a Workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) mesh: Name,
    /// Another one for each life; stands for the uid.
    pub(super) life: u64,
    /// What the dataplane that founded it states; makes its labels.
    pub(super) founder: Statement,
    pub(super) counts: Counts,
    /// Its revision is greater than the first and at most the second: which of
    /// two Workloads in one step gets the smaller one is nobody's business.
    pub(super) revision: (u64, u64),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Registered {
    pub(super) statement: Statement,
    pub(super) presence: Presence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Connected { session: SessionId, last: Option<(u64, Pulse)> },
    Lost { deadline: Instant },
}

/// Dataplanes of one mesh that name one workload, or none.
pub(super) type Group = (Name, Option<Name>, Name);

#[derive(Debug)]
pub(super) struct Model {
    setting: Setting,
    pub(super) registered: BTreeMap<Who, Registered>,
    /// What the first dataplane of each group stated.
    founders: BTreeMap<Group, Statement>,
    /// Which mesh holds each name.
    holders: BTreeMap<Key, Name>,
    lives: u64,
    /// What could be seen since each revision.
    past: BTreeMap<u64, Picture>,
    /// How often each name was contested.
    pub(super) warnings: BTreeMap<Key, u64>,
}

impl Model {
    pub(super) fn new(setting: Setting) -> Self {
        Self {
            setting,
            registered: BTreeMap::new(),
            founders: BTreeMap::new(),
            holders: BTreeMap::new(),
            lives: 0,
            past: BTreeMap::from([(0, Picture::new())]),
            warnings: BTreeMap::new(),
        }
    }

    /// The newest revision, and what is seen at it.
    pub(super) fn now(&self) -> (u64, &Picture) {
        let (revision, picture) = self.past.last_key_value().expect("revision 0 at least");
        (*revision, picture)
    }

    /// What was seen at a revision; none if that is in the middle of a step.
    pub(super) fn at(&self, revision: u64) -> Option<&Picture> {
        self.past.get(&revision)
    }

    /// Whether the log still has all changes after a revision.
    pub(super) fn remembers(&self, revision: u64) -> bool {
        self.now().0 - revision <= self.setting.log_capacity as u64
    }

    /// Whether a hello exceeds a limit.
    pub(super) fn refuses(&self, who: Who) -> bool {
        let connected = |who: &Who| {
            let known = self.registered.get(who);
            known.is_some_and(|known| matches!(known.presence, Presence::Connected { .. }))
        };
        if connected(&who) {
            return false;
        }
        let sessions = || self.registered.keys().filter(|who| connected(who));
        let of_mesh = sessions().filter(|other| other.mesh == who.mesh).count();
        let new = !self.registered.contains_key(&who);
        sessions().count() >= self.setting.max_sessions
            || of_mesh >= self.setting.max_sessions_per_mesh
            || new && self.is_full() && self.oldest_lost().is_none()
    }

    fn is_full(&self) -> bool {
        self.registered.len() >= self.setting.max_dataplanes
    }

    /// Who is forgotten first, and makes room for a newcomer.
    fn oldest_lost(&self) -> Option<Who> {
        let lost = self.registered.iter().filter_map(|(who, known)| match known.presence {
            Presence::Lost { deadline } => Some((deadline, who.mesh, who.namespace, who.name, *who)),
            Presence::Connected { .. } => None,
        });
        lost.min_by(|a, b| (a.0, a.1, a.2, a.3).cmp(&(b.0, b.1, b.2, b.3))).map(|oldest| oldest.4)
    }

    /// Returns whether the dataplane is warned that other meshes use the name.
    pub(super) fn hello(&mut self, who: Who, statement: Statement, session: SessionId) -> bool {
        if !self.registered.contains_key(&who)
            && self.is_full()
            && let Some(oldest) = self.oldest_lost()
        {
            self.registered.remove(&oldest);
            self.step();
        }
        let presence = Presence::Connected { session, last: None };
        self.registered.insert(who, Registered { statement, presence });
        self.step();
        let Some(key) = statement.key(who) else {
            return false;
        };
        let warned = self.meshes()[&key].len() > 1 && self.holders.get(&key) != Some(&who.mesh);
        if warned {
            *self.warnings.entry(key).or_default() += 1;
        }
        warned
    }

    pub(super) fn report(&mut self, by: SessionId, sequence: u64, pulse: Pulse) {
        for known in self.registered.values_mut() {
            if let Presence::Connected { session, last } = &mut known.presence
                && *session == by
            {
                *last = Some((sequence, pulse));
            }
        }
        self.step();
    }

    pub(super) fn goodbye(&mut self, by: SessionId) {
        self.registered.retain(
            |_, known| !matches!(known.presence, Presence::Connected { session, .. } if session == by),
        );
        self.step();
    }

    pub(super) fn cut(&mut self, by: SessionId, now: Instant) {
        if self.setting.retention == Duration::ZERO {
            return self.goodbye(by);
        }
        let deadline = now + self.setting.retention;
        for known in self.registered.values_mut() {
            if matches!(known.presence, Presence::Connected { session, .. } if session == by) {
                known.presence = Presence::Lost { deadline };
            }
        }
        self.step();
    }

    /// Ends retention where it is due, one dataplane at a time.
    pub(super) fn forget_due(&mut self, now: Instant) {
        let mut due = BTreeSet::new();
        for (who, known) in &self.registered {
            if let Presence::Lost { deadline } = known.presence
                && deadline <= now
            {
                due.insert((deadline, *who));
            }
        }
        for (_, who) in due {
            self.registered.remove(&who);
            self.step();
        }
    }

    /// The numbers of each group.
    pub(super) fn groups(&self) -> BTreeMap<Group, Counts> {
        let mut groups = BTreeMap::<Group, Counts>::new();
        for (who, known) in &self.registered {
            let group = (who.namespace, known.statement.workload, who.mesh);
            let counts = groups.entry(group).or_default();
            counts.total += 1;
            counts.connected += u32::from(matches!(known.presence, Presence::Connected { .. }));
            counts.healthy += u32::from(known.is_healthy());
        }
        groups
    }

    /// The meshes that use each name.
    pub(super) fn meshes(&self) -> BTreeMap<Key, BTreeSet<Name>> {
        let mut meshes = BTreeMap::<Key, BTreeSet<Name>>::new();
        for (who, known) in &self.registered {
            if let Some(key) = known.statement.key(*who) {
                meshes.entry(key).or_default().insert(who.mesh);
            }
        }
        meshes
    }

    /// After a transition: what history leaves behind, and what is seen now.
    fn step(&mut self) {
        let groups = self.groups();
        self.founders.retain(|group, _| groups.contains_key(group));
        for (who, known) in &self.registered {
            let group = (who.namespace, known.statement.workload, who.mesh);
            self.founders.entry(group).or_insert(known.statement);
        }
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

    /// Each Workload that looks different takes one revision, or two if it is another
    /// object under the same name; no other takes any.
    fn record(&mut self, groups: &BTreeMap<Group, Counts>) {
        let (head, before) = self.now();
        let mut after = Picture::new();
        let mut lives = self.lives;
        for (key, mesh) in &self.holders {
            let group = (key.0, Some(key.1), *mesh);
            let counts = groups[&group];
            let seen = match before.get(key) {
                Some(old) if old.mesh == *mesh => Seen { counts, ..*old },
                _ => {
                    lives += 1;
                    let founder = self.founders[&group];
                    Seen { mesh, life: lives, founder, counts, revision: (0, 0) }
                }
            };
            after.insert(*key, seen);
        }
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
        let changed: Vec<_> = keys.into_iter().filter(|key| before.get(key) != after.get(key)).collect();
        let revisions = |key| match (before.get(key), after.get(key)) {
            (Some(old), Some(new)) if old.life != new.life => 2,
            _ => 1,
        };
        let new_head = head + changed.iter().map(revisions).sum::<u64>();
        for key in changed {
            if let Some(seen) = after.get_mut(&key) {
                seen.revision = (head, new_head);
            }
        }
        self.lives = lives;
        self.past.insert(new_head, after);
    }
}

impl Registered {
    pub(super) fn is_healthy(&self) -> bool {
        match self.presence {
            Presence::Connected { last: Some((_, pulse)), .. } => pulse.is_healthy(self.statement.inbounds),
            _ => false,
        }
    }
}

impl Seen {
    pub(super) fn traits(&self, (namespace, name): Key) -> Traits<'static> {
        Traits {
            namespace,
            name,
            mesh: self.mesh,
            zone: Some(self.founder.zone).filter(|zone| !zone.is_empty()),
            kubernetes: self.founder.kubernetes,
        }
    }
}
