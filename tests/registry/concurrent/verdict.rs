//! What must be left after a sequence, whatever the order of things was.
//!
//! * Who is registered and connected, and how healthy, is what each writer did
//!   last; of the contested dataplane one session at most is left, the later.
//! * The numbers of each mesh under each name follow from that.
//! * A name with no dataplane has no Workload; one that a single mesh uses is
//!   held by it; of several the holder, if any, is one, and counts only its own.

use std::collections::BTreeMap;

use headcount::{
    model::Counts,
    registry::{DataplaneView, Registry, SessionId},
};

use super::writer::{Desk, End, Fate, Role};
use crate::{
    lens::Lens,
    world::{Name, Statement, Who},
};

/// What is left of a dataplane, if it is still registered.
type Left = Option<(Statement, Session)>;

/// Who has the session and whether it is healthy; none if it is lost.
type Session = Option<(SessionId, bool)>;

/// The numbers of the meshes, under a namespace and perhaps a name.
type Groups = BTreeMap<(Name, Option<Name>), BTreeMap<Name, Counts>>;

pub(super) fn judge(registry: &Registry, desks: &[&Desk], forgetful: bool) {
    let (views, next_after) = registry.dataplanes(|_| true, usize::MAX, None);
    assert_eq!(next_after, None);
    let mut views: BTreeMap<String, DataplaneView> =
        views.into_iter().map(|view| (view.dataplane.key.to_string(), view)).collect();
    let mut groups = Groups::new();
    for (who, possible) in possible(desks, forgetful) {
        let key = format!("{}/{}/{}", who.mesh, who.namespace, who.name);
        let view = views.remove(&key);
        let left = possible.iter().find(|left| is(view.as_ref(), who, left));
        let left = left.unwrap_or_else(|| panic!("{who:?} is {view:?}, not one of {possible:?}"));
        if let Some((statement, session)) = left {
            let names = groups.entry((who.namespace, statement.workload)).or_default();
            let counts = names.entry(who.mesh).or_default();
            counts.total += 1;
            counts.connected += u32::from(session.is_some());
            counts.healthy += u32::from(session.is_some_and(|(_, healthy)| healthy));
        }
    }
    assert!(views.is_empty(), "strangers are registered: {views:?}");
    assert_groups(registry, &groups);
    assert_workloads(registry, &groups);
}

/// What may be left of each dataplane; of most there is one possibility.
fn possible(desks: &[&Desk], forgetful: bool) -> BTreeMap<Who, Vec<Left>> {
    let mut possible = BTreeMap::<Who, Vec<Left>>::new();
    for desk in desks.iter().filter(|desk| desk.role != Role::Contested) {
        let left = desk.last.as_ref().and_then(|last| left(last, forgetful));
        possible.insert(desk.who, vec![left]);
    }
    let mut contested = desks.to_vec();
    contested.retain(|desk| desk.role == Role::Contested);
    let who = contested[0].who;
    possible.insert(who, of_contested(&contested, forgetful));
    possible
}

/// The session that nobody took over is the one that is left. If there is none,
/// the later of the two has ended, and either may have been the later.
fn of_contested(desks: &[&Desk], forgetful: bool) -> Vec<Left> {
    let (mut ended, mut superseded, mut live) = (Vec::new(), Vec::new(), Vec::new());
    let mut newest = None;
    for last in desks.iter().filter_map(|desk| desk.last.as_ref()) {
        match &last.1 {
            Fate::Ended(_) => ended.push(left(last, forgetful)),
            Fate::Kept(session, _) if session.is_superseded() => superseded.push(session.id()),
            Fate::Kept(session, _) => {
                newest = Some(session.id());
                live.push(left(last, forgetful));
            }
        }
    }
    assert!(live.len() <= 1, "both sessions believe to be the current one");
    assert!(superseded.len() <= live.len() + ended.len(), "sessions were taken over by nobody");
    if let Some(newest) = newest {
        assert!(
            superseded.iter().all(|older| *older < newest),
            "a newer session was taken over by an older one"
        );
        return live;
    }
    if ended.is_empty() {
        ended.push(None);
    }
    ended
}

fn left((statement, fate): &(Statement, Fate), forgetful: bool) -> Left {
    match fate {
        Fate::Kept(session, pulse) => {
            let healthy = pulse.is_some_and(|pulse| pulse.is_healthy(statement.inbounds));
            Some((*statement, Some((session.id(), healthy))))
        }
        Fate::Ended(End::Cut) if !forgetful => Some((*statement, None)),
        Fate::Ended(_) => None,
    }
}

fn is(view: Option<&DataplaneView>, who: Who, left: &Left) -> bool {
    match (view, left) {
        (None, None) => true,
        (Some(view), Some((statement, session))) => {
            let seen = view.session.map(|(id, _)| (id, view.healthy));
            *view.dataplane == statement.of(who) && seen == *session
        }
        _ => false,
    }
}

/// What the metrics are computed from.
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
        .list(&Lens::all().filter(), usize::MAX, None, None)
        .expect("a first page")
        .workloads
        .into_iter()
        .map(|workload| (workload.key().to_string(), workload))
        .collect();
    for ((namespace, name), meshes) in groups {
        let Some(name) = name else { continue };
        let workload = listed.remove(&format!("{namespace}/{name}"));
        let got = registry.get(&crate::world::workload_key((namespace, name))).0;
        assert_eq!(
            got.as_ref().map(|workload| workload.revision),
            workload.as_ref().map(|workload| workload.revision),
            "get and list"
        );
        let Some(workload) = workload else {
            assert!(meshes.len() > 1, "{namespace}/{name} has no Workload: {meshes:?}");
            continue;
        };
        let held = meshes.get(workload.identity.mesh.as_str());
        assert_eq!(held, Some(&workload.counts), "{namespace}/{name} of {}", workload.identity.mesh);
    }
    assert!(listed.is_empty(), "Workloads of nobody: {listed:?}");
}
