//! Counting, the single mesh, and the fields that follow the members.

use std::collections::BTreeMap;

use super::*;
use crate::{
    model::{DataplaneLimits, DataplaneSpec, Environment, WORKLOAD_LABEL},
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
        if change.total < 0 {
            let draft = self.members.leave(&dataplane(mesh), change, SystemTime::UNIX_EPOCH);
            return self.publish(draft);
        }
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

/// A dataplane of mesh `a` with this name, zone and environment.
fn in_zone(name: &str, zone: &str, environment: Environment) -> Arc<Dataplane> {
    let spec = DataplaneSpec {
        mesh: "a".into(),
        name: name.into(),
        zone: zone.into(),
        environment,
        labels: BTreeMap::from([(WORKLOAD_LABEL.into(), "web".into())]),
        ..DataplaneSpec::default()
    };
    Arc::new(Dataplane::parse(&spec, DataplaneLimits::default()).unwrap())
}

impl Fixture {
    fn label(&self, key: &str) -> Option<&str> {
        self.members.current().as_ref()?.identity.labels.get(key)
    }
}

#[test]
fn the_zone_follows_the_members() {
    let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let universal = |name: &str, zone: &str| in_zone(name, zone, Environment::Universal);
    let mut f = Fixture::new();
    let (east, west) = (universal("1", "east"), universal("2", "west"));
    let draft = f.members.join(&east, at(1));
    f.publish(draft);
    let uid = f.members.current().as_ref().unwrap().identity.uid;
    assert_eq!(f.label("kuma.io/zone"), Some("east"));
    let draft = f.members.join(&west, at(2));
    f.publish(draft);
    assert_eq!(f.label("kuma.io/zone"), None, "the members are of two zones");
    let draft = f.members.leave(&east, LEAVE, at(3));
    f.publish(draft);
    assert_eq!(f.label("kuma.io/zone"), Some("west"));
    assert_eq!(f.log.head(), 3, "each change is an update with one revision");

    let north = universal("2", "north");
    let draft = f.members.rejoin(&west, &north, CountChange::default(), at(4));
    assert!(f.publish(draft), "another zone is a change, though no count changes");
    assert_eq!(f.label("kuma.io/zone"), Some("north"));
    let draft = f.members.rejoin(&north, &north, CountChange::default(), at(5));
    assert!(!f.publish(draft));
    let current = f.members.current().as_ref().unwrap();
    assert_eq!((current.identity.uid, current.revision), (uid, 4), "it stays the same object");
    assert_eq!(current.last_transition_time, at(3), "when the counts last changed");
}

#[test]
fn the_labels_of_the_environment_follow_the_members() {
    let mut f = Fixture::new();
    let pod = in_zone("1", "", Environment::Kubernetes);
    let process = in_zone("2", "", Environment::Universal);
    let labels = |f: &Fixture| {
        let label = |key: &str| f.label(key).map(ToOwned::to_owned);
        (label("kuma.io/managed-by"), label("kuma.io/env"))
    };
    let draft = f.members.join(&pod, SystemTime::UNIX_EPOCH);
    f.publish(draft);
    assert_eq!(labels(&f), (Some("k8s-controller".into()), None));
    let draft = f.members.join(&process, SystemTime::UNIX_EPOCH);
    f.publish(draft);
    assert_eq!(labels(&f), (None, None));
    let draft = f.members.leave(&pod, LEAVE, SystemTime::UNIX_EPOCH);
    f.publish(draft);
    assert_eq!(labels(&f), (Some("workload-generator".into()), Some("universal".into())));
}
