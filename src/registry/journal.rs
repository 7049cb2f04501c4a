//! Changes of records that are not durable yet: the latest one of each key.

use std::{collections::BTreeMap, mem};

use tokio::sync::Notify;

use crate::{
    model::{DataplaneKey, RegistrationRecord, WorkloadKey, WorkloadRecord},
    runtime::sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Changes of records, at most one for each key; none removes the record.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RecordChanges {
    /// The registrations.
    pub registrations: BTreeMap<DataplaneKey, Option<RegistrationRecord>>,
    /// The Workloads.
    pub workloads: BTreeMap<WorkloadKey, Option<WorkloadRecord>>,
    /// Older changes were dropped, because more were pending than the limit. What is stored can
    /// differ from the registry in any record, and not only in those above.
    pub incomplete: bool,
}

/// Collects changes until they are taken to be stored. Transitions write to it while they hold
/// their locks, so changes of one key are in the order of the transitions. It never blocks: a
/// later change of a key replaces the earlier one, and beyond the limit it drops all and
/// remembers that it did.
#[derive(Debug)]
pub(crate) struct Journal {
    limit: usize,
    /// Until this is set, no change is collected.
    enabled: AtomicBool,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    pending: RecordChanges,
    /// The number of changes that were taken and may not be stored yet.
    taken: usize,
}

impl RecordChanges {
    /// The number of changes.
    pub fn len(&self) -> usize {
        self.registrations.len() + self.workloads.len()
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && !self.incomplete
    }
}

impl Journal {
    /// A journal of at most `limit` changes, which is not enabled.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, enabled: AtomicBool::new(false), state: Mutex::default(), changed: Notify::new() }
    }

    /// Begins to collect.
    pub(crate) fn enable(&self) {
        self.enabled.store(true, Relaxed);
    }

    /// Whether it collects, so that the records outlive the registry.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    pub(crate) fn registration(&self, key: &DataplaneKey, record: Option<RegistrationRecord>) {
        self.add(|pending| drop(pending.registrations.insert(key.clone(), record)));
    }

    pub(crate) fn workload(&self, key: &WorkloadKey, record: Option<WorkloadRecord>) {
        self.add(|pending| drop(pending.workloads.insert(key.clone(), record)));
    }

    fn add(&self, change: impl FnOnce(&mut RecordChanges)) {
        if !self.is_enabled() {
            return;
        }
        let mut state = self.state.lock();
        let first = state.pending.is_empty();
        change(&mut state.pending);
        if state.pending.len() > self.limit {
            state.pending = RecordChanges { incomplete: true, ..RecordChanges::default() };
        }
        drop(state);
        if first {
            self.changed.notify_one();
        }
    }

    /// Takes the changes of Workloads and of at most `max` registrations. A new registration is
    /// never taken before its Workload, and the removal of a Workload never before the changes of
    /// its registrations: it remains pending while registrations do.
    ///
    /// They count as pending until [`Journal::stored`] or [`Journal::restore`].
    pub(crate) fn take(&self, max: usize) -> RecordChanges {
        let mut state = self.state.lock();
        let State { pending, taken } = &mut *state;
        let registrations = match pending.registrations.keys().nth(max).cloned() {
            Some(first) => pending.registrations.split_off(&first),
            None => BTreeMap::new(),
        };
        let workloads = if registrations.is_empty() {
            BTreeMap::new()
        } else {
            let (removed, stored) =
                mem::take(&mut pending.workloads).into_iter().partition(|(_, record)| record.is_none());
            pending.workloads = stored;
            removed
        };
        let rest = RecordChanges { registrations, workloads, incomplete: false };
        let changes = mem::replace(pending, rest);
        *taken = changes.len();
        changes
    }

    /// The changes that were taken are stored.
    pub(crate) fn stored(&self) {
        self.state.lock().taken = 0;
    }

    /// Returns changes that could not be stored. Later changes of the same keys take precedence.
    pub(crate) fn restore(&self, taken: RecordChanges) {
        self.stored();
        self.add(|pending| {
            pending.incomplete |= taken.incomplete;
            for (key, record) in taken.registrations {
                pending.registrations.entry(key).or_insert(record);
            }
            for (key, record) in taken.workloads {
                pending.workloads.entry(key).or_insert(record);
            }
        });
    }

    /// The number of changes that are not stored yet; at least 1 if changes were dropped.
    pub(crate) fn len(&self) -> usize {
        let State { pending, taken } = &*self.state.lock();
        taken + pending.len() + usize::from(pending.incomplete)
    }

    /// Waits until there may be changes. One task may wait at a time.
    pub(crate) async fn changed(&self) {
        if self.state.lock().pending.is_empty() {
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::registry::tests::dataplane;

    fn journal(limit: usize) -> Journal {
        let journal = Journal::new(limit);
        journal.enable();
        journal
    }

    fn record(name: &str, seconds: u64) -> RegistrationRecord {
        RegistrationRecord {
            dataplane: dataplane(name, "web").into(),
            since: SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds),
            retained_until: None,
        }
    }

    fn add(journal: &Journal, name: &str, seconds: Option<u64>) {
        journal.registration(&dataplane(name, "web").key, seconds.map(|seconds| record(name, seconds)));
    }

    fn seconds(changes: &RecordChanges) -> Vec<(&str, Option<u64>)> {
        let since =
            |record: &RegistrationRecord| record.since.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        changes
            .registrations
            .iter()
            .map(|(key, record)| (key.name.as_str(), record.as_ref().map(|record| since(record).as_secs())))
            .collect()
    }

    #[test]
    fn nothing_is_collected_before_it_is_enabled() {
        let journal = Journal::new(9);
        add(&journal, "a", Some(1));
        assert!(journal.take(9).is_empty());
    }

    #[test]
    fn the_latest_change_of_a_key_remains() {
        let journal = journal(9);
        add(&journal, "a", Some(1));
        add(&journal, "b", Some(1));
        add(&journal, "a", Some(2));
        add(&journal, "b", None);
        assert_eq!(seconds(&journal.take(9)), [("a", Some(2)), ("b", None)]);
        assert!(journal.take(9).is_empty());
    }

    #[test]
    fn at_most_so_many_are_taken_and_the_rest_remains() {
        let journal = journal(9);
        for name in ["c", "a", "b"] {
            add(&journal, name, Some(1));
        }
        assert_eq!(seconds(&journal.take(2)), [("a", Some(1)), ("b", Some(1))]);
        assert_eq!(journal.changed().now_or_never(), Some(()), "the rest is waiting");
        assert_eq!(seconds(&journal.take(2)), [("c", Some(1))]);
    }

    #[test]
    fn a_workload_is_stored_before_its_registrations_and_removed_after_them() {
        let journal = journal(9);
        let [gone, new] = ["gone", "new"].map(|name| WorkloadKey::parse("default", name).unwrap());
        let record = WorkloadRecord {
            key: new.clone(),
            mesh: dataplane("a", "new").key.mesh,
            uid: uuid::Uuid::nil(),
            creation_time: SystemTime::UNIX_EPOCH,
        };
        journal.workload(&gone, None);
        journal.workload(&new, Some(record));
        for name in ["a", "b", "c"] {
            add(&journal, name, None);
        }
        let (first, last) = (journal.take(2), journal.take(2));
        assert_eq!((first.registrations.len(), last.registrations.len()), (2, 1));
        assert_eq!(first.workloads.into_keys().collect::<Vec<_>>(), [new]);
        assert_eq!(last.workloads.into_keys().collect::<Vec<_>>(), [gone]);
    }

    #[test]
    fn what_could_not_be_stored_does_not_replace_what_came_later() {
        let journal = journal(9);
        add(&journal, "a", Some(1));
        add(&journal, "b", Some(1));
        let taken = journal.take(9);
        add(&journal, "a", Some(2));
        journal.restore(taken);
        assert_eq!(seconds(&journal.take(9)), [("a", Some(2)), ("b", Some(1))]);
    }

    #[test]
    fn beyond_the_limit_it_only_remembers_that_changes_are_missing() {
        let journal = journal(2);
        for name in ["a", "b", "c", "d"] {
            add(&journal, name, Some(1));
        }
        let taken = journal.take(9);
        assert_eq!((seconds(&taken), taken.incomplete), (vec![("d", Some(1))], true));
        assert!(!journal.take(9).incomplete);
        journal.restore(RecordChanges { incomplete: true, ..RecordChanges::default() });
        assert!(!journal.take(9).is_empty());
    }

    #[test]
    fn a_change_is_pending_until_it_is_stored() {
        let journal = journal(9);
        add(&journal, "a", Some(1));
        add(&journal, "b", Some(1));
        let taken = journal.take(1);
        assert_eq!(journal.len(), 2);
        journal.restore(taken);
        assert_eq!(journal.len(), 2);
        let _taken = journal.take(9);
        assert_eq!(journal.len(), 2);
        journal.stored();
        assert_eq!(journal.len(), 0);
        journal.restore(RecordChanges { incomplete: true, ..RecordChanges::default() });
        assert_eq!(journal.len(), 1);
    }

    #[test]
    fn a_change_wakes_the_waiting_task() {
        let journal = journal(9);
        assert_eq!(journal.changed().now_or_never(), None);
        add(&journal, "a", Some(1));
        assert_eq!(journal.changed().now_or_never(), Some(()));
    }
}
