//! The Workloads that a watch has printed, and the changes of the next batch.

use std::collections::BTreeMap;

use crate::{
    cli::output::ChangeType,
    proto::{WatchWorkloadsResponse, Workload},
};

/// Namespace and name.
type Key = (String, String);

/// The state of a watch. A batch of messages is applied when it is complete, so a connection that
/// breaks within a batch changes nothing.
#[derive(Debug, Default)]
pub(super) struct Replica {
    workloads: BTreeMap<Key, Workload>,
    batch: Batch,
    resume_token: String,
}

/// The received part of a batch; `None` is a removed Workload.
#[derive(Debug, Default)]
struct Batch {
    reset: bool,
    workloads: BTreeMap<Key, Option<Workload>>,
}

/// One change to print.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub(super) change: ChangeType,
    /// The Workload after the change; its last state if it was deleted.
    pub(super) workload: Workload,
}

impl Replica {
    /// Discards an incomplete batch and returns the token to resume with.
    pub(super) fn resume(&mut self) -> String {
        self.batch = Batch::default();
        self.resume_token.clone()
    }

    /// Applies a message. Returns the changes of the batch that it completes, ordered by namespace
    /// and name, or `None` if the batch goes on.
    pub(super) fn apply(&mut self, message: WatchWorkloadsResponse) -> Option<Vec<Change>> {
        if message.reset {
            self.batch = Batch { reset: true, workloads: BTreeMap::new() };
        }
        let removed = message.removed.into_iter().map(|removed| ((removed.namespace, removed.name), None));
        let upserted = message
            .upserted
            .into_iter()
            .map(|workload| ((workload.namespace.clone(), workload.name.clone()), Some(workload)));
        self.batch.workloads.extend(removed.chain(upserted));
        message.synced.then(|| {
            self.resume_token = message.resume_token;
            let batch = std::mem::take(&mut self.batch);
            self.commit(batch)
        })
    }

    fn commit(&mut self, mut batch: Batch) -> Vec<Change> {
        if batch.reset {
            let missing = self.workloads.keys().filter(|key| !batch.workloads.contains_key(*key));
            for key in missing.cloned().collect::<Vec<_>>() {
                batch.workloads.insert(key, None);
            }
        }
        batch.workloads.into_iter().filter_map(|(key, now)| self.update(key, now)).collect()
    }

    /// Stores the state of a Workload. Returns the change, if it is visible in the output.
    fn update(&mut self, key: Key, now: Option<Workload>) -> Option<Change> {
        let Some(workload) = now else {
            let workload = self.workloads.remove(&key)?;
            return Some(Change { change: ChangeType::Deleted, workload });
        };
        let change = match self.workloads.insert(key, workload.clone()) {
            None => ChangeType::Added,
            Some(before) if is_same(&before, &workload) => return None,
            Some(_) => ChangeType::Modified,
        };
        Some(Change { change, workload })
    }
}

/// Whether two states of a Workload look the same. A snapshot after a reconnect repeats Workloads
/// that have not changed, and after a restart of the server with another revision.
fn is_same(a: &Workload, b: &Workload) -> bool {
    let counts = |workload: &Workload| workload.status.as_ref().and_then(|status| status.dataplane_proxies);
    a.uid == b.uid && a.mesh == b.mesh && a.labels == b.labels && counts(a) == counts(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::tests::samples::{self, workload},
        proto::WorkloadRef,
    };

    fn summary(changes: Option<Vec<Change>>) -> Vec<(ChangeType, String)> {
        let changes = changes.expect("a complete batch");
        changes.into_iter().map(|change| (change.change, change.workload.name)).collect()
    }

    fn message(upserted: Vec<Workload>, removed: &[&str]) -> WatchWorkloadsResponse {
        let reference = |name: &&str| WorkloadRef {
            name: (*name).into(),
            namespace: "default".into(),
            ..WorkloadRef::default()
        };
        WatchWorkloadsResponse {
            removed: removed.iter().map(reference).collect(),
            ..samples::workload_batch(upserted, "t")
        }
    }

    fn reset(message: WatchWorkloadsResponse) -> WatchWorkloadsResponse {
        WatchWorkloadsResponse { reset: true, ..message }
    }

    use ChangeType::{Added, Deleted, Modified};

    #[test]
    fn a_batch_becomes_changes() {
        let mut replica = Replica::default();
        let snapshot = reset(message(vec![workload("a", 1), workload("b", 1)], &[]));
        assert_eq!(summary(replica.apply(snapshot)), [(Added, "a".into()), (Added, "b".into())]);
        let delta = message(vec![workload("b", 2), workload("c", 1)], &["a"]);
        assert_eq!(
            summary(replica.apply(delta)),
            [(Deleted, "a".into()), (Modified, "b".into()), (Added, "c".into())]
        );
        assert_eq!(summary(replica.apply(message(vec![], &["unknown"]))), []);
    }

    #[test]
    fn an_incomplete_batch_changes_nothing() {
        let mut replica = Replica::default();
        let part = WatchWorkloadsResponse { synced: false, ..reset(message(vec![workload("a", 1)], &[])) };
        assert_eq!(replica.apply(part.clone()), None);
        assert_eq!(replica.resume(), "", "the token of an incomplete batch is not used");
        assert_eq!(replica.apply(part), None);
        let rest = message(vec![workload("b", 1)], &[]);
        assert_eq!(summary(replica.apply(rest)), [(Added, "a".into()), (Added, "b".into())]);
        assert_eq!(replica.resume(), "t");
    }

    #[test]
    fn a_second_snapshot_yields_only_differences() {
        let mut replica = Replica::default();
        replica.apply(reset(message(vec![workload("a", 1), workload("b", 1), workload("c", 1)], &[])));
        let restarted = Workload { revision: 1, ..workload("a", 1) };
        let changes = replica.apply(reset(message(vec![restarted, workload("b", 2)], &[])));
        assert_eq!(summary(changes), [(Modified, "b".into()), (Deleted, "c".into())]);
    }

    #[test]
    fn a_workload_with_another_uid_is_modified() {
        let mut replica = Replica::default();
        replica.apply(reset(message(vec![workload("a", 1)], &[])));
        let recreated = Workload { uid: "another".into(), ..workload("a", 1) };
        assert_eq!(summary(replica.apply(message(vec![recreated], &[]))), [(Modified, "a".into())]);
    }
}
