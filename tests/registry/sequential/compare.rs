//! Compares everything that can be read from the registry with the model.

use std::collections::{BTreeMap, BTreeSet};

use headcount::{
    model::{Labels, Workload},
    registry::events::Event,
    registry::{DataplaneView, Registry},
};
use uuid::Uuid;

use super::model::{Model, ModelWorkload, Presence, Registered, Workloads};
use crate::{
    domain::{Identity, Key, MESHES, NAMESPACES, WORKLOADS, assert_bounds, workload_key},
    filter_case::FilterCase,
    reader::{Known, known},
};

/// Compares the registry with the model, and remembers the uid of each lifetime of a Workload.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    uids: BTreeMap<u64, Uuid>,
}

impl Comparison {
    /// Compares snapshot, Get, groups, dataplanes and events.
    pub(super) fn assert_same(&mut self, registry: &Registry, model: &Model) {
        let (head, expected) = model.now();
        let snapshot = registry.snapshot();
        assert_eq!(snapshot.revision, head, "one revision for each visible change");
        self.assert_known(&known(&snapshot.workloads), expected, FilterCase::all());
        let revisions: BTreeSet<_> = snapshot.workloads.iter().map(|w| w.revision).collect();
        assert_eq!(revisions.len(), expected.len(), "two Workloads share a revision");
        for key in NAMESPACES.into_iter().flat_map(|ns| WORKLOADS.map(|w| (ns, w))) {
            let (workload, revision) = registry.get(&workload_key(key));
            assert_eq!(revision, head);
            assert_eq!(workload.is_some(), expected.contains_key(&key), "get {key:?}");
            if let Some(workload) = workload {
                self.assert_workload(&workload, key, &expected[&key]);
            }
        }
        assert_groups(registry, model);
        assert_dataplanes(registry, model);
        assert_events(registry, model);
    }

    /// A reader knows exactly the Workloads that its filter matches.
    pub(super) fn assert_known(&mut self, known: &Known, workloads: &Workloads, filter: FilterCase) {
        let expected: Vec<_> =
            workloads.iter().filter(|(key, workload)| filter.matches(workload.attributes(**key))).collect();
        assert_eq!(known.len(), expected.len(), "known {known:#?}\nexpected {expected:#?}");
        for (workload, (key, expected)) in known.values().zip(expected) {
            self.assert_workload(workload, *key, expected);
        }
    }

    pub(super) fn assert_workload(&mut self, workload: &Workload, key: Key, expected: &ModelWorkload) {
        let identity = &workload.identity;
        assert_bounds(workload.counts);
        assert_eq!((identity.key.namespace.as_str(), identity.key.name.as_str()), key);
        assert_eq!((identity.mesh.as_str(), workload.counts), (expected.mesh, expected.counts), "{key:?}");
        assert!(
            expected.revision.0 < workload.revision && workload.revision <= expected.revision.1,
            "{workload:?} was changed in {:?}",
            expected.revision
        );
        assert_eq!(identity.labels, labels(expected));
        if !self.uids.contains_key(&expected.lifetime) {
            let taken = self.uids.values().any(|uid| *uid == identity.uid);
            assert!(!taken, "{key:?}: another lifetime has this uid");
            self.uids.insert(expected.lifetime, identity.uid);
        }
        assert_eq!(identity.uid, self.uids[&expected.lifetime], "{key:?}: the uid of a lifetime changed");
    }
}

fn labels(workload: &ModelWorkload) -> Labels {
    let mut labels = vec![("kuma.io/mesh", workload.mesh)];
    match workload.kubernetes {
        Some(true) => labels.push(("kuma.io/managed-by", "k8s-controller")),
        Some(false) => {
            labels.push(("kuma.io/managed-by", "workload-generator"));
            labels.push(("kuma.io/env", "universal"));
        }
        None => {}
    }
    labels.extend(workload.zone.map(|zone| ("kuma.io/zone", zone)));
    Labels::from_trusted(labels)
}

/// The groups, from which the metrics are computed.
fn assert_groups(registry: &Registry, model: &Model) {
    let (_, workloads) = model.now();
    let meshes = model.meshes();
    let expected = model.groups().into_iter().map(|((namespace, workload, mesh), counts)| {
        let key = workload.map(|name| (namespace, name));
        let holds = key.is_some_and(|key| workloads.get(&key).is_some_and(|workload| workload.mesh == mesh));
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

/// Lists all dataplanes in large pages, and those of one mesh in pages of one.
fn assert_dataplanes(registry: &Registry, model: &Model) {
    let mesh = MESHES[0];
    for (size, all) in [(5, true), (1, false)] {
        let expected = model.registered.iter().filter(|(identity, _)| all || identity.mesh == mesh);
        let mut expected = expected.peekable();
        let mut after = None;
        loop {
            let wanted = |dataplane: &headcount::model::Dataplane| all || dataplane.key.mesh.as_str() == mesh;
            let (views, next_after) = registry.dataplanes(wanted, size, after.as_ref());
            assert!(views.len() <= size);
            for view in &views {
                let (identity, registered) = expected.next().expect("an unexpected dataplane is registered");
                assert_dataplane(view, *identity, registered);
            }
            assert_eq!(next_after.is_some(), expected.peek().is_some(), "whether there is a next page");
            if next_after.is_none() {
                break;
            }
            after = next_after;
        }
    }
}

fn assert_dataplane(view: &DataplaneView, identity: Identity, expected: &Registered) {
    assert_eq!(*view.dataplane, expected.statement.of(identity));
    assert_eq!(view.healthy, expected.is_healthy(), "{identity:?}");
    match (view.session, expected.presence) {
        (Some((id, report)), Presence::Connected { session, last }) => {
            assert_eq!(id, session, "the newest session of {identity:?}");
            if let Some((sequence, health)) = last {
                assert_eq!(report, health.report(sequence, expected.statement.inbounds));
            }
        }
        (None, Presence::Lost { .. }) => {}
        (session, presence) => panic!("{identity:?} is {session:?}, not {presence:?}"),
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
