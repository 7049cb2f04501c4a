//! Who belongs to one workload name, in plain data: the rules of counting and
//! of the single mesh. No lock, no clock, no log in here.

use std::{sync::Arc, time::SystemTime};

use smallvec::SmallVec;

use crate::{
    model::{
        Counts, Dataplane, Environment, MeshName, Namespace, Workload, WorkloadIdentity, WorkloadKey,
        WorkloadName, ZoneName,
    },
    registry::changelog::{Draft, Published},
};

/// Where a dataplane is counted: under a workload's name in its namespace, or
/// under no name if it carries none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) namespace: Namespace,
    pub(super) workload: Option<WorkloadName>,
}

impl Place {
    pub(super) fn of(dataplane: &Dataplane) -> Self {
        Self { namespace: dataplane.key.namespace.clone(), workload: dataplane.workload.clone() }
    }

    pub(super) fn of_workload(key: &WorkloadKey) -> Self {
        Self { namespace: key.namespace.clone(), workload: Some(key.name.clone()) }
    }

    pub(super) fn workload_key(&self) -> Option<WorkloadKey> {
        let name = self.workload.clone()?;
        Some(WorkloadKey { namespace: self.namespace.clone(), name })
    }
}

/// By how much the numbers of one mesh change. This is the narrow door by which
/// facts come in; who counted them is not asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) connected: i32,
    pub(super) healthy: i32,
    pub(super) total: i32,
}

/// What a dataplane that comes adds: a registration and a session, and no
/// health until it reports.
const JOIN: Delta = Delta { connected: 1, healthy: 0, total: 1 };

/// All dataplanes of one [`Place`], grouped by mesh, and the Workload that
/// readers see of them.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Members {
    // What a health flip touches comes first: it is in one or two cache lines.
    /// One in all but the faulty case, and then a health flip finds it here
    /// and not elsewhere in memory.
    groups: SmallVec<[Group; 1]>,
    /// The mesh whose dataplanes hold the Workload.
    holder: Option<MeshName>,
    /// What readers see.
    current: Published,
    /// Of the Workload; none if this place never has one.
    key: Option<WorkloadKey>,
    /// The dataplane that came last; the next one is probably much like it.
    newest: Option<Arc<Dataplane>>,
}

/// The dataplanes of one mesh; never empty.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) mesh: MeshName,
    pub(super) counts: Counts,
    /// Of the group's first dataplane; they become labels of the Workload.
    environment: Environment,
    zone: Option<ZoneName>,
}

impl Members {
    pub(super) fn new(place: &Place) -> Self {
        Self { key: place.workload_key(), groups: SmallVec::new(), holder: None, current: None, newest: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn current(&self) -> &Published {
        &self.current
    }

    /// The mesh that keeps `mesh` from being counted in the Workload, or how
    /// many compete while none holds it.
    pub(super) fn conflict(&self, mesh: &MeshName) -> Option<Conflict> {
        if self.groups.len() < 2 || self.holder.as_ref() == Some(mesh) {
            return None;
        }
        let key = self.key.clone()?;
        Some(Conflict { key, holder: self.holder.clone(), meshes: self.groups.len() })
    }

    /// Keeps a dataplane in memory, together with its like.
    pub(super) fn keep(&mut self, mut dataplane: Dataplane) -> Arc<Dataplane> {
        if let Some(newest) = &self.newest {
            dataplane.share(newest);
        }
        let dataplane = Arc::new(dataplane);
        self.newest = Some(Arc::clone(&dataplane));
        dataplane
    }

    /// Counts a dataplane that was not counted here, with its session. Returns
    /// what readers have to hear, or none if they see no difference.
    pub(super) fn join(&mut self, dataplane: &Dataplane, now: SystemTime) -> Option<Draft> {
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

    /// Counts a change of a dataplane that is counted here already. Returns
    /// what readers have to hear, or none if they see no difference.
    pub(super) fn apply(&mut self, member: &Dataplane, delta: Delta, now: SystemTime) -> Option<Draft> {
        let at = match self.groups.as_slice() {
            // Looks at the dataplane only where there is a choice: one of a
            // million is not in the processor's cache.
            [_] => 0,
            groups => {
                let its_own = groups.iter().position(|group| group.mesh == member.key.mesh);
                its_own.expect("a group has its members' mesh and lives while they do")
            }
        };
        self.count(at, delta, now)
    }

    /// Takes note of the state that the change log made of a draft.
    pub(super) fn published(&mut self, published: Option<Published>) {
        if let Some(current) = published {
            self.current = current;
        }
    }

    fn count(&mut self, at: usize, delta: Delta, now: SystemTime) -> Option<Draft> {
        let group = &mut self.groups[at];
        let counts = &mut group.counts;
        counts.connected = moved(counts.connected, delta.connected);
        counts.healthy = moved(counts.healthy, delta.healthy);
        counts.total = moved(counts.total, delta.total);
        debug_assert!(counts.healthy <= counts.connected && counts.connected <= counts.total, "{counts:?}");
        let moves_holder = delta != Delta::default() && self.holder.as_ref() == Some(&group.mesh);
        if counts.total == 0 {
            self.groups.swap_remove(at);
        }
        let changes_hands = self.settle_holder();
        if changes_hands || moves_holder { self.draft(changes_hands, now) } else { None }
    }

    /// The holder keeps the name while it has a dataplane. A name that nobody
    /// holds goes to a mesh that is alone with it, and to none while several
    /// compete. Returns whether the holder is another now.
    fn settle_holder(&mut self) -> bool {
        if self.holding().is_some() {
            return false;
        }
        let heir = match self.groups.as_slice() {
            [alone] => Some(alone.mesh.clone()),
            _ => None,
        };
        let changes = self.holder != heir;
        self.holder = heir;
        changes
    }

    /// The holder's group.
    fn holding(&self) -> Option<&Group> {
        self.groups.iter().find(|group| self.holder.as_ref() == Some(&group.mesh))
    }

    /// The Workload as it is now: another one than before if the name
    /// `changes_hands`.
    fn draft(&self, changes_hands: bool, now: SystemTime) -> Option<Draft> {
        let key = self.key.as_ref()?;
        let Some(group) = self.holding() else {
            return self.current.clone().map(Draft::remove);
        };
        let identity = match &self.current {
            Some(current) if !changes_hands => Arc::clone(&current.identity),
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
pub(super) struct Conflict {
    pub(super) key: WorkloadKey,
    pub(super) holder: Option<MeshName>,
    pub(super) meshes: usize,
}

/// A counter that moves in steps of one can't leave its range: registrations
/// are bounded far below it, and nothing leaves that did not come.
fn moved(count: u32, delta: i32) -> u32 {
    count.checked_add_signed(delta).expect("a dataplane leaves once, and only after it came")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        model::{DataplaneLimits, DataplaneSpec, WORKLOAD_LABEL},
        registry::changelog::ChangeLog,
    };

    const LEAVE: Delta = Delta { connected: -1, healthy: 0, total: -1 };

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
            Self { log: ChangeLog::new(64), members: Members::new(&Place::of(&dataplane("a"))) }
        }

        fn join(&mut self, mesh: &str) -> bool {
            let draft = self.members.join(&dataplane(mesh), SystemTime::UNIX_EPOCH);
            self.publish(draft)
        }

        fn apply(&mut self, mesh: &str, delta: Delta) -> bool {
            let draft = self.members.apply(&dataplane(mesh), delta, SystemTime::UNIX_EPOCH);
            self.publish(draft)
        }

        /// Returns whether anything was visible.
        fn publish(&mut self, draft: Option<Draft>) -> bool {
            let [published] = self.log.publish([draft]);
            let visible = published.is_some();
            self.members.published(published);
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
    fn the_first_creates_and_the_last_deletes() {
        let mut f = Fixture::new();
        assert!(f.join("a"));
        assert_eq!(f.seen(), Some(("a", counts(1, 0, 1))));
        let uid = f.members.current().as_ref().unwrap().identity.uid;
        assert!(f.apply("a", Delta { healthy: 1, ..Delta::default() }));
        assert_eq!(f.seen(), Some(("a", counts(1, 1, 1))));
        assert_eq!(f.members.current().as_ref().unwrap().identity.uid, uid);
        assert!(f.apply("a", Delta { healthy: -1, ..LEAVE }));
        assert_eq!(f.seen(), None);
        assert!(f.members.is_empty());
        assert!(f.join("a"));
        assert_ne!(f.members.current().as_ref().unwrap().identity.uid, uid, "a new life has a new uid");
    }

    #[test]
    fn no_difference_is_not_news() {
        let mut f = Fixture::new();
        f.join("a");
        assert!(!f.apply("a", Delta::default()));
        assert_eq!(f.log.head(), 1);
    }

    #[test]
    fn another_mesh_is_not_counted_and_not_news() {
        let mut f = Fixture::new();
        f.join("a");
        assert!(!f.join("b"));
        assert!(!f.apply("b", Delta { healthy: 1, ..Delta::default() }));
        assert_eq!(f.seen(), Some(("a", counts(1, 0, 1))));
        let b = dataplane("b").key.mesh;
        let conflict = f.members.conflict(&b).unwrap();
        assert_eq!((conflict.holder.unwrap().as_str(), conflict.meshes), ("a", 2));
        assert_eq!(f.members.conflict(&dataplane("a").key.mesh), None, "the holder has no problem");
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
        assert_eq!(f.log.head(), 3, "one step of two revisions: a deletion and a creation");
    }

    #[test]
    fn while_two_compete_nobody_gets_the_name() {
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
    fn dataplanes_without_a_name_are_counted_but_never_shown() {
        let mut unnamed = dataplane("a");
        unnamed.workload = None;
        let mut members = Members::new(&Place::of(&unnamed));
        assert!(members.join(&unnamed, SystemTime::UNIX_EPOCH).is_none());
        assert_eq!(members.groups()[0].counts, counts(1, 0, 1));
        assert_eq!(members.conflict(&dataplane("b").key.mesh), None);
    }
}
