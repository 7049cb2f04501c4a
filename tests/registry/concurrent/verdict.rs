//! The verdict: what must remain after a case, whatever the order of operations was.
//!
//! * Each dataplane is registered, connected and healthy as its writer left it. Of the contested
//!   dataplane at most one session remains, the later one.
//! * The counts of each mesh under each name follow from that.
//! * A name without dataplanes has no Workload. A name that one mesh uses is held by it. A name that
//!   several meshes use is held by one of them or by none, and its Workload counts only the holder's
//!   dataplanes.

use std::collections::BTreeMap;

use headcount::{
    model::Counts,
    registry::{DataplaneView, Registry, SessionId},
};

use super::writer::{End, LastSession, Role, WriterDataplane};
use crate::{
    domain::{Identity, Name, Statement},
    filter_case::FilterCase,
};

/// What remains of a dataplane; none if it is not registered.
type Remaining = Option<(Statement, Connection)>;

/// The session that remains and whether it is healthy; none if the dataplane is lost.
type Connection = Option<(SessionId, bool)>;

/// The counts of each mesh, by namespace and workload name.
type Groups = BTreeMap<(Name, Option<Name>), BTreeMap<Name, Counts>>;

pub(super) fn check(registry: &Registry, dataplanes: &[&WriterDataplane], expires: bool) {
    let (views, next_after) = registry.dataplanes(|_| true, usize::MAX, None);
    assert_eq!(next_after, None);
    let mut views: BTreeMap<String, DataplaneView> =
        views.into_iter().map(|view| (view.dataplane.key.to_string(), view)).collect();
    let mut groups = Groups::new();
    for (identity, outcomes) in possible_outcomes(dataplanes, expires) {
        let key = format!("{}/{}/{}", identity.mesh, identity.namespace, identity.name);
        let view = views.remove(&key);
        let remaining = outcomes.iter().find(|outcome| equals(view.as_ref(), identity, outcome));
        let remaining =
            remaining.unwrap_or_else(|| panic!("{identity:?} is {view:?}, not one of {outcomes:?}"));
        if let Some((statement, connection)) = remaining {
            let names = groups.entry((identity.namespace, statement.workload)).or_default();
            let counts = names.entry(identity.mesh).or_default();
            counts.total += 1;
            counts.connected += u32::from(connection.is_some());
            counts.healthy += u32::from(connection.is_some_and(|(_, healthy)| healthy));
        }
    }
    assert!(views.is_empty(), "unexpected dataplanes are registered: {views:?}");
    assert_groups(registry, &groups);
    assert_workloads(registry, &groups);
}

/// The possible outcomes of each dataplane: one, except for the contested dataplane.
fn possible_outcomes(dataplanes: &[&WriterDataplane], expires: bool) -> BTreeMap<Identity, Vec<Remaining>> {
    let mut outcomes = BTreeMap::<Identity, Vec<Remaining>>::new();
    for dataplane in dataplanes.iter().filter(|dataplane| dataplane.role != Role::Contested) {
        let remaining = dataplane.last.as_ref().and_then(|last| remaining(last, expires));
        outcomes.insert(dataplane.identity, vec![remaining]);
    }
    let mut contested = dataplanes.to_vec();
    contested.retain(|dataplane| dataplane.role == Role::Contested);
    let identity = contested[0].identity;
    outcomes.insert(identity, outcomes_of_contested(&contested, expires));
    outcomes
}

/// The session that was not superseded remains. If there is none, the later of the two sessions has
/// ended, and either may have been the later one.
fn outcomes_of_contested(dataplanes: &[&WriterDataplane], expires: bool) -> Vec<Remaining> {
    let (mut ended, mut superseded, mut live) = (Vec::new(), Vec::new(), Vec::new());
    let mut newest = None;
    for last in dataplanes.iter().filter_map(|dataplane| dataplane.last.as_ref()) {
        match &last.1 {
            LastSession::Ended(_) => ended.push(remaining(last, expires)),
            LastSession::Open(session, _) if session.is_superseded() => superseded.push(session.id()),
            LastSession::Open(session, _) => {
                newest = Some(session.id());
                live.push(remaining(last, expires));
            }
        }
    }
    assert!(live.len() <= 1, "neither of two sessions was superseded");
    assert!(superseded.len() <= live.len() + ended.len(), "a session was superseded by no other");
    if let Some(newest) = newest {
        assert!(
            superseded.iter().all(|older| *older < newest),
            "a newer session was superseded by an older one"
        );
        return live;
    }
    if ended.is_empty() {
        ended.push(None);
    }
    ended
}

fn remaining((statement, session): &(Statement, LastSession), expires: bool) -> Remaining {
    match session {
        LastSession::Open(session, health) => {
            let healthy = health.is_some_and(|health| health.is_healthy(statement.inbounds));
            Some((*statement, Some((session.id(), healthy))))
        }
        LastSession::Ended(End::Disconnect) if !expires => Some((*statement, None)),
        LastSession::Ended(_) => None,
    }
}

fn equals(view: Option<&DataplaneView>, identity: Identity, remaining: &Remaining) -> bool {
    match (view, remaining) {
        (None, None) => true,
        (Some(view), Some((statement, connection))) => {
            let actual = view.session.map(|(id, _)| (id, view.healthy));
            *view.dataplane == statement.of(identity) && actual == *connection
        }
        _ => false,
    }
}

/// The groups, from which the metrics are computed.
fn assert_groups(registry: &Registry, expected: &Groups) {
    let mut expected: Vec<_> = expected
        .iter()
        .flat_map(|((namespace, name), meshes)| {
            let key = name.map(|name| format!("{namespace}/{name}"));
            meshes.iter().map(move |(mesh, counts)| ((*mesh).to_owned(), key.clone(), numbers(*counts)))
        })
        .collect();
    let views = registry.groups().into_iter();
    let mut views: Vec<_> = views
        .map(|view| {
            let key = view.workload.map(|key| key.to_string());
            (view.mesh.to_string(), key, numbers(view.counts))
        })
        .collect();
    expected.sort();
    views.sort();
    assert_eq!(views, expected, "groups");
}

fn numbers(counts: Counts) -> [u32; 3] {
    [counts.total, counts.connected, counts.healthy]
}

fn assert_workloads(registry: &Registry, groups: &Groups) {
    let mut listed: BTreeMap<_, _> = registry
        .list(&FilterCase::all().filter(), usize::MAX, None, None)
        .expect("a first page")
        .workloads
        .into_iter()
        .map(|workload| (workload.key().to_string(), workload))
        .collect();
    for ((namespace, name), meshes) in groups {
        let Some(name) = name else { continue };
        let workload = listed.remove(&format!("{namespace}/{name}"));
        let got = registry.get(&crate::domain::workload_key((namespace, name))).0;
        assert_eq!(
            got.as_ref().map(|workload| workload.revision),
            workload.as_ref().map(|workload| workload.revision),
            "get and list"
        );
        let Some(workload) = workload else {
            assert!(meshes.len() > 1, "{namespace}/{name} has no Workload: {meshes:?}");
            continue;
        };
        let holder = meshes.get(workload.identity.mesh.as_str());
        assert_eq!(holder, Some(&workload.counts), "{namespace}/{name} of {}", workload.identity.mesh);
    }
    assert!(listed.is_empty(), "Workloads without dataplanes: {listed:?}");
}
