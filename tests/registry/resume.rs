//! A watch of lifetimes that is cut after any single entry: a reader that resumes at
//! that entry's revision ends with exactly what exists, and is never sent a deletion or
//! an update of an object it does not know, nor a creation in the place of another.

use std::collections::BTreeMap;

use headcount::{
    model::{Filter, HealthState, MeshName, Workload, WorkloadKey},
    registry::{Delta, Position, Registry, Session, Watcher},
};
use proptest::{
    collection::vec,
    prelude::{Strategy, any},
    test_runner::{Config, TestRunner},
};
use uuid::Uuid;

use crate::world::{MESHES, NAMESPACES, Pulse, Statement, WORKLOADS, Who, connect, settings};

/// What happens to one of the eight dataplanes.
#[derive(Debug, Clone, Copy)]
enum Op {
    Join,
    Flip,
    Goodbye,
}

type Step = (Op, u8);

/// Two histories: the watch reads the first in one batch, and the second happens
/// after the cut.
type Case = (Vec<Step>, Vec<Step>, Vec<Step>, bool);

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let op = any::<u8>().prop_map(|n| match n % 7 {
        0..3 => Op::Join,
        3 => Op::Flip,
        _ => Op::Goodbye,
    });
    vec((op, any::<u8>()), 0..most)
}

struct World {
    registry: Registry,
    sessions: BTreeMap<u8, (Session, u64)>,
}

impl World {
    fn play(&mut self, steps: &[Step]) {
        for &(op, number) in steps {
            let number = number % 8;
            match op {
                Op::Join => {
                    let who = Who {
                        mesh: MESHES[usize::from(number % 2)],
                        namespace: NAMESPACES[0],
                        name: ["d0", "d1"][usize::from(number / 4)],
                    };
                    let workload = Some(WORKLOADS[usize::from(number / 2 % 2)]);
                    let statement = Statement { workload, zone: "", kubernetes: false, inbounds: 0 };
                    let session = connect(&self.registry, statement.of(who)).expect("room").session;
                    self.sessions.insert(number, (session, 0));
                }
                Op::Flip => {
                    if let Some((session, sequence)) = self.sessions.get_mut(&number) {
                        *sequence += 1;
                        let ready =
                            if *sequence % 2 == 1 { HealthState::Ready } else { HealthState::NotReady };
                        let pulse = Pulse { proxy: ready, inbounds: [HealthState::Unknown; 2] };
                        session.report(pulse.report(*sequence, 0));
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

    fn watch(&self, filter: &Filter, after: u64) -> Vec<Delta> {
        let mut watcher: Watcher =
            self.registry.watch_lifetimes(filter.clone(), Position(after)).expect("room");
        let mut entries = Vec::new();
        while let Some(batch) = watcher.next_now() {
            assert!(!batch.reset, "the log reaches it");
            entries.extend(batch.deltas.iter().cloned());
        }
        entries
    }

    fn known(&self, filter: &Filter) -> (Known, u64) {
        let page = self.registry.list(filter, usize::MAX, None, None).expect("now");
        (Known::of(page.workloads.iter().map(|workload| &**workload)), page.revision)
    }
}

/// The objects that a reader knows: uid and numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known(BTreeMap<WorkloadKey, (Uuid, [u32; 3])>);

fn facts(workload: &Workload) -> (Uuid, [u32; 3]) {
    let counts = workload.counts;
    (workload.identity.uid, [counts.connected, counts.healthy, counts.total])
}

impl Known {
    fn of<'a>(workloads: impl Iterator<Item = &'a Workload>) -> Self {
        Self(workloads.map(|workload| (workload.key().clone(), facts(workload))).collect())
    }

    fn apply(&mut self, delta: &Delta) {
        match (&delta.before, &delta.now) {
            (None, Some(created)) => {
                let known = self.0.insert(created.key().clone(), facts(created));
                assert!(known.is_none(), "created over {known:?}: {delta:?}");
            }
            (Some(_), Some(updated)) => {
                let known = self.0.insert(updated.key().clone(), facts(updated));
                let (uid, _) = known.unwrap_or_else(|| panic!("updated, and not known: {delta:?}"));
                assert_eq!(uid, updated.identity.uid, "updated is another: {delta:?}");
            }
            (Some(deleted), None) => {
                let known = self.0.remove(deleted.key());
                let (uid, _) = known.unwrap_or_else(|| panic!("deleted, and not known: {delta:?}"));
                assert_eq!(uid, deleted.identity.uid, "deleted is another: {delta:?}");
            }
            (None, None) => panic!("an entry about nothing"),
        }
    }
}

fn check((before, first, second, one_mesh): Case) {
    let mut world = World { registry: Registry::new(settings()), sessions: BTreeMap::new() };
    let mesh = MeshName::parse("", MESHES[0]).expect("valid");
    let filter = Filter { mesh: one_mesh.then_some(mesh), ..Filter::default() };
    world.play(&before);
    let (start, revision) = world.known(&filter);
    world.play(&first);
    let entries = world.watch(&filter, revision);
    world.play(&second);
    let (end, _) = world.known(&filter);
    let mut known = start;
    let mut reached = revision;
    for cut in 0..=entries.len() {
        let mut resumed = known.clone();
        for entry in world.watch(&filter, reached) {
            resumed.apply(&entry);
        }
        assert_eq!(resumed, end, "cut after {cut} of {entries:?}");
        if let Some(entry) = entries.get(cut) {
            known.apply(entry);
            assert!(entry.revision > reached, "revisions grow from entry to entry");
            reached = entry.revision;
        }
    }
}

#[test]
fn a_reader_resumes_exactly_after_any_entry() {
    let config = Config { cases: crate::cases() / 4, failure_persistence: None, ..Config::default() };
    let case = (steps(12), steps(24), steps(12), any::<bool>());
    let outcome = TestRunner::new(config).run(&case, |case| {
        check(case);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// The history that a client lost a deletion in.
#[test]
fn a_deletion_between_two_lives_is_not_lost() {
    // 4 and 0 are dataplanes of `api`, 2 of `web`.
    let before = vec![(Op::Join, 0)];
    let first = vec![(Op::Goodbye, 0), (Op::Join, 2), (Op::Join, 0)];
    check((before, first, vec![(Op::Goodbye, 0)], false));
}
