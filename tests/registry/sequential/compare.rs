//! The registry beside the model: all that readers can see, exactly.

use std::collections::{BTreeMap, BTreeSet};

use headcount::{
    model::{Labels, Workload},
    registry::events::Event,
    registry::{DataplaneView, Registry},
};
use uuid::Uuid;

use super::model::{Model, Picture, Presence, Registered, Seen};
use crate::{
    lens::Lens,
    reader::{Known, known},
    world::{Key, MESHES, NAMESPACES, WORKLOADS, Who, assert_bounds, workload_key},
};

/// Which uid each life of a Workload has, as far as was seen.
#[derive(Debug, Default)]
pub(super) struct Lives(BTreeMap<u64, Uuid>);

impl Lives {
    /// All doors of the registry say what the model says.
    pub(super) fn assert_same(&mut self, registry: &Registry, model: &Model) {
        let (head, picture) = model.now();
        let snapshot = registry.snapshot();
        assert_eq!(snapshot.revision, head, "one revision per visible change");
        self.assert_seen(&known(&snapshot.workloads), picture, Lens::all());
        let revisions: BTreeSet<_> = snapshot.workloads.iter().map(|w| w.revision).collect();
        assert_eq!(revisions.len(), picture.len(), "no two share a revision");
        for key in NAMESPACES.into_iter().flat_map(|ns| WORKLOADS.map(|w| (ns, w))) {
            let (workload, revision) = registry.get(&workload_key(key));
            assert_eq!(revision, head);
            assert_eq!(workload.is_some(), picture.contains_key(&key), "get {key:?}");
            if let Some(workload) = workload {
                self.assert_workload(&workload, key, &picture[&key]);
            }
        }
        assert_groups(registry, model);
        assert_dataplanes(registry, model);
        assert_events(registry, model);
    }

    /// What somebody knows is what the lens shows of a picture.
    pub(super) fn assert_seen(&mut self, known: &Known, picture: &Picture, lens: Lens) {
        let wanted: Vec<_> = picture.iter().filter(|(key, seen)| lens.matches(seen.traits(**key))).collect();
        assert_eq!(known.len(), wanted.len(), "known {known:#?}\nexpected {wanted:#?}");
        for (workload, (key, seen)) in known.values().zip(wanted) {
            self.assert_workload(workload, *key, seen);
        }
    }

    pub(super) fn assert_workload(&mut self, workload: &Workload, key: Key, seen: &Seen) {
        let identity = &workload.identity;
        assert_bounds(workload.counts);
        assert_eq!((identity.key.namespace.as_str(), identity.key.name.as_str()), key);
        assert_eq!((identity.mesh.as_str(), workload.counts), (seen.mesh, seen.counts), "{key:?}");
        assert!(
            seen.revision.0 < workload.revision && workload.revision <= seen.revision.1,
            "{workload:?} was changed in {:?}",
            seen.revision
        );
        assert_eq!(identity.labels, labels(seen));
        if !self.0.contains_key(&seen.life) {
            let taken = self.0.values().any(|uid| *uid == identity.uid);
            assert!(!taken, "{key:?}: another life has this uid");
            self.0.insert(seen.life, identity.uid);
        }
        assert_eq!(identity.uid, self.0[&seen.life], "{key:?}: a life keeps its uid");
    }
}

fn labels(seen: &Seen) -> Labels {
    let mut labels = vec![("kuma.io/mesh", seen.mesh)];
    if seen.founder.kubernetes {
        labels.push(("kuma.io/managed-by", "k8s-controller"));
    } else {
        labels.push(("kuma.io/managed-by", "workload-generator"));
        labels.push(("kuma.io/env", "universal"));
    }
    if !seen.founder.zone.is_empty() {
        labels.push(("kuma.io/zone", seen.founder.zone));
    }
    Labels::from_trusted(labels)
}

/// What the metrics are computed from.
fn assert_groups(registry: &Registry, model: &Model) {
    let (_, picture) = model.now();
    let meshes = model.meshes();
    let expected = model.groups().into_iter().map(|((namespace, workload, mesh), counts)| {
        let key = workload.map(|name| (namespace, name));
        let holds = key.is_some_and(|key| picture.get(&key).is_some_and(|seen| seen.mesh == mesh));
        let contested = key.is_some_and(|key| meshes[&key].len() > 1);
        let key = key.map(|(namespace, name)| format!("{namespace}/{name}"));
        let numbers = [counts.total, counts.connected, counts.healthy];
        (mesh.to_owned(), key, numbers, holds, contested)
    });
    let views = registry.groups().into_iter().map(|view| {
        assert_bounds(view.counts);
        let key = view.workload.map(|key| key.to_string());
        let numbers = [view.counts.total, view.counts.connected, view.counts.healthy];
        (view.mesh.as_str().to_owned(), key, numbers, view.holds, view.contested)
    });
    let (mut expected, mut views): (Vec<_>, Vec<_>) = (expected.collect(), views.collect());
    expected.sort();
    views.sort();
    assert_eq!(views, expected, "groups");
}

/// In pages, the smallest and largest of which are common in a small world.
fn assert_dataplanes(registry: &Registry, model: &Model) {
    let mesh = MESHES[0];
    for (size, all) in [(5, true), (1, false)] {
        let expected = model.registered.iter().filter(|(who, _)| all || who.mesh == mesh);
        let mut expected = expected.peekable();
        let mut after = None;
        loop {
            let wanted = |dataplane: &headcount::model::Dataplane| all || dataplane.key.mesh.as_str() == mesh;
            let (views, next_after) = registry.dataplanes(wanted, size, after.as_ref());
            assert!(views.len() <= size);
            for view in &views {
                let (who, known) = expected.next().expect("a stranger is registered");
                assert_dataplane(view, *who, known);
            }
            assert_eq!(next_after.is_some(), expected.peek().is_some(), "whether there are more");
            if next_after.is_none() {
                break;
            }
            after = next_after;
        }
    }
}

fn assert_dataplane(view: &DataplaneView, who: Who, known: &Registered) {
    assert_eq!(*view.dataplane, known.statement.of(who));
    assert_eq!(view.healthy, known.is_healthy(), "{who:?}");
    match (view.session, known.presence) {
        (Some((id, report)), Presence::Connected { session, last }) => {
            assert_eq!(id, session, "the newest session of {who:?}");
            if let Some((sequence, pulse)) = last {
                assert_eq!(report, pulse.report(sequence, known.statement.inbounds));
            }
        }
        (None, Presence::Lost { .. }) => {}
        (session, presence) => panic!("{who:?} is {session:?}, not {presence:?}"),
    }
}

fn assert_events(registry: &Registry, model: &Model) {
    let (events, _) = registry.events().after(0);
    let about = |event: &Event| event.regarding.workload().expect("a Workload").to_string();
    let counts: BTreeMap<_, _> = events.iter().map(|event| (about(event.as_ref()), event.count)).collect();
    let expected: BTreeMap<_, _> = model
        .warnings
        .iter()
        .map(|((namespace, name), count)| (format!("{namespace}/{name}"), *count))
        .collect();
    assert_eq!(counts, expected, "events");
}
