//! What a watch has shown so far, and what the next step of it changes.

use std::collections::BTreeMap;

use crate::{
    cli::output::ChangeType,
    proto::{WatchWorkloadsResponse, Workload},
};

/// Namespace and name.
type Key = (String, String);

/// The state a watch has brought us to. Steps count only when they are whole,
/// so a connection that breaks in the midst of one leaves nothing half done.
#[derive(Debug, Default)]
pub(super) struct Fold {
    known: BTreeMap<Key, Workload>,
    step: Step,
    resume_token: String,
}

/// The part of a step that has arrived; what is `None` is gone.
#[derive(Debug, Default)]
struct Step {
    reset: bool,
    workloads: BTreeMap<Key, Option<Workload>>,
}

/// One change to show. What is deleted is shown as it was last.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    /// What happened.
    pub(super) change: ChangeType,
    /// To what.
    pub(super) workload: Workload,
}

impl Fold {
    /// Forgets the step that a broken stream left unfinished, and says where to
    /// go on from.
    pub(super) fn resume(&mut self) -> String {
        self.step = Step::default();
        self.resume_token.clone()
    }

    /// Takes a message. The changes of a step that is now whole, in the order of
    /// namespace and name; `None` while it is not.
    pub(super) fn apply(&mut self, message: WatchWorkloadsResponse) -> Option<Vec<Change>> {
        if message.reset {
            self.step = Step { reset: true, workloads: BTreeMap::new() };
        }
        let removed = message.removed.into_iter().map(|gone| ((gone.namespace, gone.name), None));
        let upserted = message
            .upserted
            .into_iter()
            .map(|workload| ((workload.namespace.clone(), workload.name.clone()), Some(workload)));
        self.step.workloads.extend(removed.chain(upserted));
        message.synced.then(|| {
            self.resume_token = message.resume_token;
            let step = std::mem::take(&mut self.step);
            self.commit(step)
        })
    }

    fn commit(&mut self, mut step: Step) -> Vec<Change> {
        if step.reset {
            for key in self
                .known
                .keys()
                .filter(|key| !step.workloads.contains_key(*key))
                .cloned()
                .collect::<Vec<_>>()
            {
                step.workloads.insert(key, None);
            }
        }
        step.workloads.into_iter().filter_map(|(key, now)| self.change(key, now)).collect()
    }

    /// Remembers how a Workload is now; the change, if a reader would see one.
    fn change(&mut self, key: Key, now: Option<Workload>) -> Option<Change> {
        let Some(workload) = now else {
            let workload = self.known.remove(&key)?;
            return Some(Change { change: ChangeType::Deleted, workload });
        };
        let change = match self.known.insert(key, workload.clone()) {
            None => ChangeType::Added,
            Some(before) if looks_like(&before, &workload) => return None,
            Some(_) => ChangeType::Modified,
        };
        Some(Change { change, workload })
    }
}

/// Whether a Workload is as it was. A snapshot after a lost connection repeats
/// what has not changed, and after a restart each has another revision.
fn looks_like(a: &Workload, b: &Workload) -> bool {
    let numbers = |workload: &Workload| workload.status.as_ref().and_then(|status| status.dataplane_proxies);
    a.uid == b.uid && a.mesh == b.mesh && a.labels == b.labels && numbers(a) == numbers(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::tests::scripted_server::{self as fake, workload},
        proto::WorkloadRef,
    };

    fn seen(changes: Option<Vec<Change>>) -> Vec<(ChangeType, String)> {
        let changes = changes.expect("a whole step");
        changes.into_iter().map(|change| (change.change, change.workload.name)).collect()
    }

    fn step(upserted: Vec<Workload>, removed: &[&str]) -> WatchWorkloadsResponse {
        let gone = |name: &&str| WorkloadRef {
            name: (*name).into(),
            namespace: "default".into(),
            ..WorkloadRef::default()
        };
        WatchWorkloadsResponse { removed: removed.iter().map(gone).collect(), ..fake::step(upserted, "t") }
    }

    fn reset(message: WatchWorkloadsResponse) -> WatchWorkloadsResponse {
        WatchWorkloadsResponse { reset: true, ..message }
    }

    use ChangeType::{Added, Deleted, Modified};

    #[test]
    fn steps_become_changes() {
        let mut fold = Fold::default();
        let snapshot = reset(step(vec![workload("a", 1), workload("b", 1)], &[]));
        assert_eq!(seen(fold.apply(snapshot)), [(Added, "a".into()), (Added, "b".into())]);
        let delta = step(vec![workload("b", 2), workload("c", 1)], &["a"]);
        assert_eq!(
            seen(fold.apply(delta)),
            [(Deleted, "a".into()), (Modified, "b".into()), (Added, "c".into())]
        );
        assert_eq!(seen(fold.apply(step(vec![], &["never-seen"]))), []);
    }

    #[test]
    fn a_step_counts_when_it_is_whole() {
        let mut fold = Fold::default();
        let part = WatchWorkloadsResponse { synced: false, ..reset(step(vec![workload("a", 1)], &[])) };
        assert_eq!(fold.apply(part.clone()), None);
        assert_eq!(fold.resume(), "", "no token of a step that never was whole");
        assert_eq!(fold.apply(part), None);
        let rest = step(vec![workload("b", 1)], &[]);
        assert_eq!(seen(fold.apply(rest)), [(Added, "a".into()), (Added, "b".into())]);
        assert_eq!(fold.resume(), "t");
    }

    #[test]
    fn a_second_snapshot_shows_only_what_is_other() {
        let mut fold = Fold::default();
        fold.apply(reset(step(vec![workload("a", 1), workload("b", 1), workload("c", 1)], &[])));
        let restarted = Workload { revision: 1, ..workload("a", 1) };
        let changes = fold.apply(reset(step(vec![restarted, workload("b", 2)], &[])));
        assert_eq!(seen(changes), [(Modified, "b".into()), (Deleted, "c".into())]);
    }

    #[test]
    fn a_new_life_of_a_workload_is_a_change() {
        let mut fold = Fold::default();
        fold.apply(reset(step(vec![workload("a", 1)], &[])));
        let reborn = Workload { uid: "another".into(), ..workload("a", 1) };
        assert_eq!(seen(fold.apply(step(vec![reborn], &[]))), [(Modified, "a".into())]);
    }
}
