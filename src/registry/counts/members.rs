//! The dataplanes of one workload name as plain data: the rules of counting and of the
//! single mesh. No lock, no clock and no log here.

use std::{sync::Arc, time::SystemTime};

use smallvec::SmallVec;

use crate::{
    model::{
        Counts, Dataplane, Environment, MeshName, Namespace, Workload, WorkloadIdentity, WorkloadKey,
        WorkloadName, ZoneName,
    },
    registry::log::{Draft, Published},
};

/// Names the entry that counts a dataplane: a workload's name in its namespace, or the
/// namespace alone for dataplanes without the label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryKey {
    pub(crate) namespace: Namespace,
    pub(crate) workload: Option<WorkloadName>,
}

impl EntryKey {
    pub(crate) fn of(dataplane: &Dataplane) -> Self {
        Self { namespace: dataplane.key.namespace.clone(), workload: dataplane.workload.clone() }
    }

    pub(crate) fn of_workload(key: &WorkloadKey) -> Self {
        Self { namespace: key.namespace.clone(), workload: Some(key.name.clone()) }
    }

    pub(crate) fn workload_key(&self) -> Option<WorkloadKey> {
        let name = self.workload.clone()?;
        Some(WorkloadKey { namespace: self.namespace.clone(), name })
    }
}

/// By how much the counts of one mesh change. All counts of [`Members`] change by one of
/// these only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CountChange {
    pub(crate) connected: i32,
    pub(crate) healthy: i32,
    pub(crate) total: i32,
}

/// A new dataplane: a registration and a session, and no health until it reports.
const JOIN: CountChange = CountChange { connected: 1, healthy: 0, total: 1 };

/// The dataplanes of one [`EntryKey`], grouped by mesh, and the Workload that readers
/// see.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Members {
    // A health flip touches the first fields only; they share one or two cache lines.
    /// One group unless several meshes use the name. Inline, so that a flip reads no
    /// other memory.
    groups: SmallVec<[Group; 1]>,
    /// The mesh that the Workload belongs to.
    holder: Option<MeshName>,
    /// What readers see.
    current: Published,
    /// The Workload's key; none for dataplanes without the label, which never have one.
    key: Option<WorkloadKey>,
    /// The dataplane that joined last.
    newest: Option<Arc<Dataplane>>,
}

/// The dataplanes of one mesh; never empty.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) mesh: MeshName,
    pub(crate) counts: Counts,
    /// Those of the group's first dataplane; they become labels of the Workload.
    environment: Environment,
    zone: Option<ZoneName>,
}

impl Members {
    pub(crate) fn new(key: &EntryKey) -> Self {
        Self { key: key.workload_key(), groups: SmallVec::new(), holder: None, current: None, newest: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(crate) fn current(&self) -> &Published {
        &self.current
    }

    /// Why dataplanes of `mesh` are not counted in the Workload; none if they are.
    pub(crate) fn conflict(&self, mesh: &MeshName) -> Option<Conflict> {
        if self.groups.len() < 2 || self.holder.as_ref() == Some(mesh) {
            return None;
        }
        let key = self.key.clone()?;
        Some(Conflict { key, holder: self.holder.clone(), meshes: self.groups.len() })
    }

    /// The latest member, whose strings the next one probably shares.
    pub(crate) fn newest(&self) -> Option<&Arc<Dataplane>> {
        self.newest.as_ref()
    }

    /// Counts a new member with its session. Returns the change that readers see, if
    /// any.
    pub(crate) fn join(&mut self, dataplane: &Arc<Dataplane>, now: SystemTime) -> Option<Draft> {
        self.newest = Some(Arc::clone(dataplane));
        let mesh = &dataplane.key.mesh;
        let at = self.groups.iter().position(|group| group.mesh == *mesh).unwrap_or_else(|| {
            self.groups.push(Group {
                mesh: mesh.clone(),
                counts: Counts::default(),
                environment: dataplane.environment,
                zone: dataplane.zone.clone(),
            });
            self.groups.len() - 1
        });
        self.count(at, JOIN, now)
    }

    /// Counts a change of a member. Returns the change that readers see, if any.
    ///
    /// # Panics
    ///
    /// If the dataplane is not a member.
    pub(crate) fn apply(
        &mut self,
        member: &Dataplane,
        change: CountChange,
        now: SystemTime,
    ) -> Option<Draft> {
        let at = match self.groups.as_slice() {
            // The dataplane is not read if there is one group only: among a million, it is
            // probably not in the CPU's cache.
            [_] => 0,
            groups => {
                let own = groups.iter().position(|group| group.mesh == member.key.mesh);
                own.expect("a group exists while it has members")
            }
        };
        self.count(at, change, now)
    }

    /// Stores the state that the change log has published for a draft.
    pub(crate) fn set_current(&mut self, published: Option<Published>) {
        if let Some(current) = published {
            self.current = current;
        }
    }

    fn count(&mut self, at: usize, change: CountChange, now: SystemTime) -> Option<Draft> {
        let group = &mut self.groups[at];
        let counts = &mut group.counts;
        counts.connected = adjusted(counts.connected, change.connected);
        counts.healthy = adjusted(counts.healthy, change.healthy);
        counts.total = adjusted(counts.total, change.total);
        debug_assert!(counts.healthy <= counts.connected && counts.connected <= counts.total, "{counts:?}");
        let changes_holder = change != CountChange::default() && self.holder.as_ref() == Some(&group.mesh);
        if counts.total == 0 {
            self.groups.swap_remove(at);
        }
        let holder_changed = self.elect_holder();
        if holder_changed || changes_holder { self.draft(holder_changed, now) } else { None }
    }

    /// The holder keeps the name while it has a dataplane. A name without a holder goes
    /// to the mesh that uses it if it is the only one, and to none while several meshes
    /// use it. Returns whether the holder changed.
    fn elect_holder(&mut self) -> bool {
        if self.holder_group().is_some() {
            return false;
        }
        let next = match self.groups.as_slice() {
            [only] => Some(only.mesh.clone()),
            _ => None,
        };
        let changed = self.holder != next;
        self.holder = next;
        changed
    }

    /// The holder's group.
    fn holder_group(&self) -> Option<&Group> {
        self.groups.iter().find(|group| self.holder.as_ref() == Some(&group.mesh))
    }

    /// The Workload as it is now; a new object if the holder changed.
    fn draft(&self, holder_changed: bool, now: SystemTime) -> Option<Draft> {
        let key = self.key.as_ref()?;
        let Some(group) = self.holder_group() else {
            return self.current.clone().map(Draft::remove);
        };
        let identity = match &self.current {
            Some(current) if !holder_changed => Arc::clone(&current.identity),
            _ => {
                let (mesh, zone) = (group.mesh.clone(), group.zone.as_ref());
                Arc::new(WorkloadIdentity::new(key.clone(), mesh, group.environment, zone, now))
            }
        };
        Some(Draft::upsert(self.current.clone(), Workload::draft(identity, group.counts, now)))
    }
}

/// Why a dataplane is counted in no Workload although it names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) key: WorkloadKey,
    pub(crate) holder: Option<MeshName>,
    pub(crate) meshes: usize,
}

/// The counter can't leave its range: registrations are bounded far below `u32::MAX`,
/// and a member is removed once.
fn adjusted(count: u32, by: i32) -> u32 {
    count.checked_add_signed(by).expect("a member is removed once, and only after it was added")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        model::{DataplaneLimits, DataplaneSpec, WORKLOAD_LABEL},
        registry::log::ChangeLog,
    };

    const LEAVE: CountChange = CountChange { connected: -1, healthy: 0, total: -1 };

    fn dataplane(mesh: &str) -> Dataplane {
        let spec = DataplaneSpec {
            mesh: mesh.into(),
            name: "dp".into(),
            zone: "east".into(),
            labels: BTreeMap::from([(WORKLOAD_LABEL.into(), "web".into())]),
            ..DataplaneSpec::default()
        };
        Dataplane::parse(&spec, DataplaneLimits::default()).unwrap()
    }

    struct Fixture {
        log: ChangeLog,
        members: Members,
    }

    impl Fixture {
        fn new() -> Self {
            Self { log: ChangeLog::new(64), members: Members::new(&EntryKey::of(&dataplane("a"))) }
        }

        fn join(&mut self, mesh: &str) -> bool {
            let draft = self.members.join(&Arc::new(dataplane(mesh)), SystemTime::UNIX_EPOCH);
            self.publish(draft)
        }

        fn apply(&mut self, mesh: &str, change: CountChange) -> bool {
            let draft = self.members.apply(&dataplane(mesh), change, SystemTime::UNIX_EPOCH);
            self.publish(draft)
        }

        /// Returns whether anything was visible.
        fn publish(&mut self, draft: Option<Draft>) -> bool {
            let [published] = self.log.publish([draft]);
            let visible = published.is_some();
            self.members.set_current(published);
            visible
        }

        fn seen(&self) -> Option<(&str, Counts)> {
            let current = self.members.current().as_ref()?;
            Some((current.identity.mesh.as_str(), current.counts))
        }
    }

    fn counts(connected: u32, healthy: u32, total: u32) -> Counts {
        Counts { connected, healthy, total }
    }

    #[test]
    fn the_first_member_creates_the_workload_and_the_last_deletes_it() {
        let mut f = Fixture::new();
        assert!(f.join("a"));
        assert_eq!(f.seen(), Some(("a", counts(1, 0, 1))));
        let uid = f.members.current().as_ref().unwrap().identity.uid;
        assert!(f.apply("a", CountChange { healthy: 1, ..CountChange::default() }));
        assert_eq!(f.seen(), Some(("a", counts(1, 1, 1))));
        assert_eq!(f.members.current().as_ref().unwrap().identity.uid, uid);
        assert!(f.apply("a", CountChange { healthy: -1, ..LEAVE }));
        assert_eq!(f.seen(), None);
        assert!(f.members.is_empty());
        assert!(f.join("a"));
        assert_ne!(f.members.current().as_ref().unwrap().identity.uid, uid, "a new Workload has a new uid");
    }

    #[test]
    fn an_empty_change_is_not_published() {
        let mut f = Fixture::new();
        f.join("a");
        assert!(!f.apply("a", CountChange::default()));
        assert_eq!(f.log.head(), 1);
    }

    #[test]
    fn a_second_mesh_is_not_counted_and_not_published() {
        let mut f = Fixture::new();
        f.join("a");
        assert!(!f.join("b"));
        assert!(!f.apply("b", CountChange { healthy: 1, ..CountChange::default() }));
        assert_eq!(f.seen(), Some(("a", counts(1, 0, 1))));
        let b = dataplane("b").key.mesh.clone();
        let conflict = f.members.conflict(&b).unwrap();
        assert_eq!((conflict.holder.unwrap().as_str(), conflict.meshes), ("a", 2));
        assert_eq!(f.members.conflict(&dataplane("a").key.mesh), None, "the holder has no conflict");
    }

    #[test]
    fn the_name_passes_to_the_one_mesh_that_is_left() {
        let mut f = Fixture::new();
        f.join("a");
        f.join("b");
        let old = f.members.current().as_ref().unwrap().identity.uid;
        assert!(f.apply("a", LEAVE));
        assert_eq!(f.seen(), Some(("b", counts(1, 0, 1))));
        assert_ne!(f.members.current().as_ref().unwrap().identity.uid, old);
        assert_eq!(f.log.head(), 3, "two revisions, published together: a deletion and a creation");
    }

    #[test]
    fn while_several_meshes_use_a_name_without_a_holder_none_gets_it() {
        let mut f = Fixture::new();
        for mesh in ["a", "b", "c"] {
            f.join(mesh);
        }
        assert!(f.apply("a", LEAVE));
        assert_eq!(f.seen(), None);
        assert!(!f.join("d"));
        assert!(!f.apply("d", LEAVE));
        assert!(f.apply("b", LEAVE));
        assert_eq!(f.seen(), Some(("c", counts(1, 0, 1))));
    }

    #[test]
    fn a_workload_carries_kumas_labels() {
        let mut f = Fixture::new();
        f.join("a");
        let labels: Vec<_> = f.members.current().as_ref().unwrap().identity.labels.iter().collect::<Vec<_>>();
        let expected = [
            ("kuma.io/env", "universal"),
            ("kuma.io/managed-by", "workload-generator"),
            ("kuma.io/mesh", "a"),
            ("kuma.io/zone", "east"),
        ];
        assert_eq!(labels, expected);
    }

    #[test]
    fn dataplanes_without_the_label_are_counted_but_have_no_workload() {
        let mut unnamed = dataplane("a");
        unnamed.workload = None;
        let unnamed = Arc::new(unnamed);
        let mut members = Members::new(&EntryKey::of(&unnamed));
        assert!(members.join(&unnamed, SystemTime::UNIX_EPOCH).is_none());
        assert_eq!(members.groups()[0].counts, counts(1, 0, 1));
        assert_eq!(members.conflict(&dataplane("b").key.mesh), None);
    }
}
