//! A reader of a watch of lifetimes that stops after any single delta and resumes at the delta's
//! revision must end with exactly the existing Workloads. It must never receive a deletion or an
//! update of an object that it does not know, nor a creation over an object that it has.

use std::collections::BTreeMap;

use headcount::{
    model::{Filter, HealthState, MeshName, Workload, WorkloadKey},
    registry::{Accounts, Delta, Position, Registry, Session, Watcher},
};
use proptest::{
    collection::vec,
    prelude::{Strategy, any},
    test_runner::{Config, TestRunner},
};
use uuid::Uuid;

use crate::domain::{Identity, MESHES, NAMESPACES, ReportedHealth, Statement, WORKLOADS, connect, settings};

/// An operation on one of eight dataplanes.
#[derive(Debug, Clone, Copy)]
enum Op {
    Hello,
    FlipHealth,
    Goodbye,
}

type Action = (Op, u8);

/// What the watch is filtered by.
#[derive(Debug, Clone, Copy)]
enum FilterBy {
    Nothing,
    Mesh,
    Name,
}

/// Actions before the watch, actions that it reads in one batch, actions after it has stopped; and its filter.
type Case = (Vec<Action>, Vec<Action>, Vec<Action>, FilterBy);

impl FilterBy {
    fn filter(self) -> Filter {
        let mesh = MeshName::parse("", MESHES[0]).expect("valid");
        let WorkloadKey { namespace, name } = WorkloadKey::parse(NAMESPACES[0], WORKLOADS[0]).expect("valid");
        match self {
            Self::Nothing => Filter::default(),
            Self::Mesh => Filter { mesh: Some(mesh), ..Filter::default() },
            Self::Name => Filter { name: Some(name), namespace: Some(namespace), ..Filter::default() },
        }
    }
}

fn actions(most: usize) -> impl Strategy<Value = Vec<Action>> {
    let op = any::<u8>().prop_map(|n| match n % 7 {
        0..3 => Op::Hello,
        3 => Op::FlipHealth,
        _ => Op::Goodbye,
    });
    vec((op, any::<u8>()), 0..most)
}

/// A registry, and its sessions with the sequence number of their last report.
struct Harness {
    registry: Registry,
    sessions: BTreeMap<u8, (Session, u64)>,
}

impl Harness {
    fn perform(&mut self, actions: &[Action]) {
        for &(op, number) in actions {
            let number = number % 8;
            match op {
                Op::Hello => {
                    let identity = Identity {
                        mesh: MESHES[usize::from(number % 2)],
                        namespace: NAMESPACES[0],
                        name: ["d0", "d1"][usize::from(number / 4)],
                    };
                    let workload = Some(WORKLOADS[usize::from(number / 2 % 2)]);
                    let statement = Statement { workload, zone: "", kubernetes: false, inbounds: 0 };
                    let session = connect(&self.registry, statement.of(identity)).expect("room").session;
                    self.sessions.insert(number, (session, 0));
                }
                Op::FlipHealth => {
                    if let Some((session, sequence)) = self.sessions.get_mut(&number) {
                        *sequence += 1;
                        let ready =
                            if *sequence % 2 == 1 { HealthState::Ready } else { HealthState::NotReady };
                        let health = ReportedHealth { proxy: ready, inbounds: [HealthState::Unknown; 2] };
                        session.report(health.report(*sequence, 0));
                    }
                }
                Op::Goodbye => {
                    if let Some((session, _)) = self.sessions.remove(&number) {
                        session.goodbye();
                    }
                }
            }
        }
    }

    fn watch(&self, filter: &Filter, after: u64) -> Watcher {
        self.registry.watch_lifetimes(&Accounts::default(), filter.clone(), Position(after)).expect("room")
    }

    fn read(mut watcher: Watcher) -> Vec<Delta> {
        let mut entries = Vec::new();
        while let Some(batch) = watcher.next_now() {
            assert!(!batch.reset, "the log reaches back to the revision");
            entries.extend(batch.deltas.iter().cloned());
        }
        entries
    }

    fn known(&self, filter: &Filter) -> (Known, u64) {
        let page = self.registry.list(filter, usize::MAX, None, None).expect("a first page");
        (Known::of(page.workloads.iter().map(|workload| &**workload)), page.revision)
    }
}

/// The objects that a reader knows: uid and counts of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known(BTreeMap<WorkloadKey, (Uuid, [u32; 3])>);

fn uid_and_counts(workload: &Workload) -> (Uuid, [u32; 3]) {
    let counts = workload.counts;
    (workload.identity.uid, [counts.connected, counts.healthy, counts.total])
}

impl Known {
    fn of<'a>(workloads: impl Iterator<Item = &'a Workload>) -> Self {
        Self(workloads.map(|workload| (workload.key().clone(), uid_and_counts(workload))).collect())
    }

    fn apply(&mut self, delta: &Delta) {
        match (&delta.before, &delta.now) {
            (None, Some(created)) => {
                let known = self.0.insert(created.key().clone(), uid_and_counts(created));
                assert!(known.is_none(), "a creation over {known:?}: {delta:?}");
            }
            (Some(_), Some(updated)) => {
                let known = self.0.insert(updated.key().clone(), uid_and_counts(updated));
                let (uid, _) = known.unwrap_or_else(|| panic!("an update of an unknown object: {delta:?}"));
                assert_eq!(uid, updated.identity.uid, "an update of another object: {delta:?}");
            }
            (Some(deleted), None) => {
                let known = self.0.remove(deleted.key());
                let (uid, _) = known.unwrap_or_else(|| panic!("a deletion of an unknown object: {delta:?}"));
                assert_eq!(uid, deleted.identity.uid, "a deletion of another object: {delta:?}");
            }
            (None, None) => panic!("an entry without an object"),
        }
    }
}

fn check((before, first, second, filter): Case) {
    let mut harness = Harness { registry: Registry::new(settings()), sessions: BTreeMap::new() };
    let filter = filter.filter();
    harness.perform(&before);
    let (start, revision) = harness.known(&filter);
    let watcher = harness.watch(&filter, revision);
    harness.perform(&first);
    let entries = Harness::read(watcher);
    harness.perform(&second);
    let (end, _) = harness.known(&filter);
    let mut known = start;
    let mut reached = revision;
    for cut in 0..=entries.len() {
        let mut resumed = known.clone();
        for entry in Harness::read(harness.watch(&filter, reached)) {
            resumed.apply(&entry);
        }
        assert_eq!(resumed, end, "stopped after {cut} of {entries:?}");
        if let Some(entry) = entries.get(cut) {
            known.apply(entry);
            assert!(entry.revision > reached, "revisions do not grow from entry to entry");
            reached = entry.revision;
        }
    }
}

#[test]
fn a_reader_resumes_exactly_after_any_entry() {
    let config = Config { cases: crate::cases() / 4, failure_persistence: None, ..Config::default() };
    let filter = (0..3usize).prop_map(|n| [FilterBy::Nothing, FilterBy::Mesh, FilterBy::Name][n]);
    let case = (actions(12), actions(24), actions(12), filter);
    let outcome = TestRunner::new(config).run(&case, |case| {
        check(case);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// A name is deleted and created again within one batch, while another name is created in between.
#[test]
fn a_deletion_between_two_lifetimes_of_a_name_is_not_lost() {
    // 4 and 0 are dataplanes of `api`, 2 of `web`.
    let before = vec![(Op::Hello, 0)];
    let first = vec![(Op::Goodbye, 0), (Op::Hello, 2), (Op::Hello, 0)];
    check((before, first, vec![(Op::Goodbye, 0)], FilterBy::Nothing));
}
