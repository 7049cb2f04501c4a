//! The change log behind its lock.

use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use super::{
    Change, Draft, Published, ReadView,
    names::{Signals, WatchedNames},
    notifier::Notifier,
    ring::Ring,
};
use crate::{model::ExactName, runtime::sync::Mutex};

/// Changes that a reader copies while it holds the lock: about 20 microseconds, which
/// is how long a writer may have to wait.
pub(super) const CHUNK: usize = 128;

/// Revisions and the latest changes; see the [module](super).
#[derive(Debug)]
pub(crate) struct ChangeLog {
    epoch: Box<str>,
    capacity: usize,
    state: Mutex<State>,
    notifier: Notifier,
    #[cfg(test)]
    reads: std::sync::atomic::AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    ring: Ring,
    names: WatchedNames,
}

/// What the log has for a watcher of one name.
#[derive(Debug)]
pub(crate) enum NameChanges {
    /// All changes of the name, oldest first, and the revision up to which they are
    /// complete: the end of the last one's transition, or the latest without changes.
    Found { changes: Vec<Change>, until: u64 },
    /// Its changes are not remembered: the log must be searched up to `head`.
    Search { head: u64 },
}

impl ChangeLog {
    /// An empty log that retains `capacity` changes, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            epoch: Uuid::new_v4().simple().to_string()[..16].into(),
            capacity: capacity.max(1),
            state: Mutex::default(),
            notifier: Notifier::new(),
            #[cfg(test)]
            reads: std::sync::atomic::AtomicUsize::default(),
        }
    }

    /// Makes the first change get the revision after `revision`. Call it before there
    /// is any change.
    pub(crate) fn begin_after(&self, revision: u64) {
        self.state.lock().ring.begin_after(revision);
        self.notifier.begin_after(revision);
    }

    /// Names this run of the server. Revisions of different epochs can't be compared.
    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The latest revision.
    pub(crate) fn head(&self) -> u64 {
        self.state.lock().ring.head()
    }

    /// Publishes the changes of one transition, which readers see together, and returns
    /// what each draft left in place. The caller holds the locks of the Workloads
    /// concerned, so that the order of revisions is the order of states.
    pub(crate) fn publish<const N: usize>(&self, drafts: [Option<Draft>; N]) -> [Option<Published>; N] {
        let revisions = |draft: &Draft| if draft.is_replacement() { 2 } else { 1 };
        let mut left: u32 = drafts.iter().flatten().map(revisions).sum();
        if left == 0 {
            return [const { None }; N];
        }
        let at = Instant::now();
        let mut signals = Signals::new();
        let mut state = self.state.lock();
        let State { ring, names } = &mut *state;
        let published = drafts.map(|draft| {
            let draft = draft?;
            let replaces = draft.is_replacement();
            let Draft { mut old, new } = draft;
            let mut append = |old, new| {
                left -= 1;
                let (change, published) = ring.append(old, new, at, left > 0);
                names.record(change.key(), change.revision, &mut signals);
                published
            };
            if replaces {
                append(old.take(), None);
            }
            Some(append(old, new))
        });
        ring.trim(self.capacity);
        let head = ring.head();
        drop(state);
        self.notifier.published(head, signals);
        published
    }

    /// The changes after a revision and up to another one, oldest first: about `limit`
    /// of them, and never a part of a transition. None if the log no longer has the
    /// range, or does not have it yet.
    pub(crate) fn read(&self, after: u64, until: u64, limit: usize) -> Option<Vec<Change>> {
        #[cfg(test)]
        self.reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut changes: Vec<Change> = Vec::new();
        loop {
            let read_to = changes.last().map_or(after, |change| change.revision);
            let chunk = CHUNK.min(limit - changes.len());
            let complete = self.state.lock().ring.read(read_to, until, chunk, &mut changes)?;
            if complete || changes.len() >= limit {
                return Some(changes);
            }
        }
    }

    /// The changes of a name after a revision, for a watcher that has subscribed to it.
    /// None if the log no longer has them, or if the revision is in the future.
    pub(crate) fn read_name(&self, name: &ExactName, after: u64) -> Option<NameChanges> {
        let state = self.state.lock();
        let head = state.ring.head();
        if after > head {
            return None;
        }
        let Some(revisions) = state.names.changes(name, after) else {
            return Some(NameChanges::Search { head });
        };
        let changes = revisions.map(|revision| state.ring.change(revision).cloned());
        let changes: Vec<_> = changes.collect::<Option<_>>()?;
        let until = changes.last().map_or(head, |last| state.ring.end_of_transition(last.revision));
        Some(NameChanges::Found { changes, until })
    }

    /// Whether the log has every change after a revision.
    pub(crate) fn reaches(&self, revision: u64) -> bool {
        self.state.lock().ring.reaches(revision)
    }

    /// Begins a read at the latest revision.
    pub(crate) fn read_view(&self) -> ReadView<'_> {
        let ring = &mut self.state.lock().ring;
        let head = ring.head();
        ring.open_view(head);
        ReadView::opened(self, head)
    }

    /// Begins a read at an earlier revision; none if the log no longer reaches it, or
    /// if it is in the future.
    pub(crate) fn read_view_at(&self, revision: u64) -> Option<ReadView<'_>> {
        let ring = &mut self.state.lock().ring;
        if !ring.reaches(revision) {
            return None;
        }
        ring.open_view(revision);
        Some(ReadView::opened(self, revision))
    }

    pub(super) fn close_view(&self, revision: u64) {
        let ring = &mut self.state.lock().ring;
        ring.close_view(revision);
        ring.trim(self.capacity);
    }

    /// Changes whenever a new revision is announced, and holds that revision: all
    /// readers that wake in one round read up to the same one. Subscribe before you
    /// read.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.notifier.subscribe()
    }

    /// Subscribes to the changes of one name, which need not exist. Call
    /// [`unsubscribe_name`](Self::unsubscribe_name) once for each subscription.
    pub(crate) fn subscribe_name(&self, name: &ExactName) -> watch::Receiver<()> {
        let State { ring, names } = &mut *self.state.lock();
        names.add(name, ring.head())
    }

    pub(crate) fn unsubscribe_name(&self, name: &ExactName) {
        self.state.lock().names.remove(name);
    }

    /// Wakes watchers where they are many. Runs until dropped.
    pub(crate) async fn run_notifier(&self) {
        self.notifier.run(|| self.head()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use super::{super::notifier::FEW, *};
    use crate::model::{
        Counts, MeshName, Namespace, Workload, WorkloadIdentity, WorkloadKey, WorkloadName, WorkloadTraits,
    };

    fn draft(name: &str) -> Draft {
        let key = WorkloadKey {
            namespace: Namespace::parse("", "").unwrap(),
            name: WorkloadName::parse_universal("", name).unwrap(),
        };
        let mesh = MeshName::parse("", "default").unwrap();
        let now = SystemTime::UNIX_EPOCH;
        let identity = WorkloadIdentity::new(key, mesh, &WorkloadTraits::default(), now);
        Draft::upsert(None, Workload::draft(Arc::new(identity), Counts::default(), now))
    }

    impl ChangeLog {
        /// The number of reads so far.
        pub(crate) fn reads(&self) -> usize {
            self.reads.load(std::sync::atomic::Ordering::Relaxed)
        }

        pub(crate) fn watched_names(&self) -> usize {
            self.state.lock().names.len()
        }

        fn read_after(&self, revision: u64, limit: usize) -> Option<Vec<Change>> {
            self.read(revision, self.head(), limit)
        }
    }

    fn revisions(changes: Option<Vec<Change>>) -> Vec<u64> {
        changes.expect("within the ring").iter().map(|change| change.revision).collect()
    }

    #[test]
    fn each_change_gets_the_next_revision() {
        let log = ChangeLog::new(8);
        let [a, nothing, b] = log.publish([Some(draft("a")), None, Some(draft("b"))]);
        assert_eq!(a.flatten().unwrap().revision, 1);
        assert!(nothing.is_none());
        assert_eq!(b.flatten().unwrap().revision, 2);
        assert_eq!(log.head(), 2);
        assert_eq!(revisions(log.read_after(0, 9)), [1, 2]);
        assert_eq!(revisions(log.read_after(2, 9)), [0; 0]);
    }

    #[test]
    fn a_log_that_begins_later_has_no_earlier_revision() {
        let log = ChangeLog::new(8);
        log.begin_after(1_000);
        assert_eq!(revisions(log.read_after(1_000, 9)), [0; 0]);
        log.publish([Some(draft("a"))]);
        assert_eq!(revisions(log.read_after(1_000, 9)), [1_001]);
        assert!(log.read_after(999, 9).is_none() && log.read_view_at(0).is_none());
    }

    #[test]
    fn an_empty_publish_takes_no_revision() {
        let log = ChangeLog::new(8);
        assert!(log.publish([None, None]).iter().all(Option::is_none));
        assert_eq!(log.head(), 0);
    }

    #[test]
    fn a_read_beyond_the_ring_returns_none() {
        let log = ChangeLog::new(2);
        for name in ["a", "b", "c"] {
            log.publish([Some(draft(name))]);
        }
        assert!(log.read_after(0, 9).is_none());
        assert_eq!(revisions(log.read_after(1, 9)), [2, 3]);
        assert!(log.read_after(4, 9).is_none(), "a revision in the future");
    }

    #[test]
    fn a_transition_is_never_read_in_part() {
        let log = ChangeLog::new(8);
        log.publish([Some(draft("a"))]);
        log.publish([Some(draft("b")), Some(draft("c"))]);
        log.publish([Some(draft("d"))]);
        assert_eq!(revisions(log.read_after(0, 1)), [1]);
        assert_eq!(revisions(log.read_after(0, 2)), [1, 2, 3]);
        assert_eq!(revisions(log.read_after(3, 1)), [4]);
    }

    #[test]
    fn another_object_of_the_same_name_is_a_deletion_and_a_creation_of_one_transition() {
        let log = ChangeLog::new(8);
        let [first] = log.publish([Some(draft("a"))]);
        let draft = Draft { old: first.flatten(), ..draft("a") };
        let [second] = log.publish([Some(draft)]);
        assert_eq!(second.flatten().unwrap().revision, 3);
        let changes = log.read_after(1, 1).unwrap();
        let changes: Vec<_> =
            changes.iter().map(|c| (c.revision, c.old.is_some(), c.new.is_some())).collect();
        assert_eq!(changes, [(2, true, false), (3, false, true)]);
    }

    #[test]
    fn a_read_view_stays_consistent_while_the_ring_is_trimmed() {
        let log = ChangeLog::new(1);
        let [a] = log.publish([Some(draft("a"))]);
        let view = log.read_view();
        assert!(view.undo().is_empty());
        for name in ["b", "c", "b"] {
            log.publish([Some(draft(name))]);
        }
        log.publish([Some(Draft::remove(a.flatten().unwrap()))]);
        let mut undo: Vec<_> = view.undo().into_iter().map(|(key, old)| (key.name, old)).collect();
        undo.sort_by(|(a, _), (b, _)| a.cmp(b));
        let undo: Vec<_> = undo.iter().map(|(name, old)| (name.as_str(), old.is_some())).collect();
        assert_eq!((view.revision(), undo), (1, vec![("a", true), ("b", false), ("c", false)]));
        drop(view);
        assert_eq!(revisions(log.read_after(4, 9)), [5]);
        assert!(log.read_after(3, 9).is_none(), "what only the view needed is dropped");
        assert!(log.read_view_at(3).is_none() && log.read_view_at(6).is_none());
        assert_eq!(log.read_view_at(4).unwrap().undo().len(), 1);
    }

    #[test]
    fn a_long_read_is_done_in_chunks_and_misses_nothing() {
        let log = ChangeLog::new(4 * CHUNK);
        for name in 0..3 * CHUNK {
            log.publish([Some(draft(&format!("w{name}")))]);
        }
        let all: Vec<_> = (1..).take(3 * CHUNK).collect();
        assert_eq!(revisions(log.read_after(0, usize::MAX)), all);
        assert_eq!(revisions(log.read_after(0, CHUNK + 1)), all[..=CHUNK]);
        assert_eq!(revisions(log.read_after(7, 1)), [8]);
        assert_eq!(revisions(log.read(3, 5, 9)), [4, 5]);
        assert_eq!(revisions(log.read(5, 3, 9)), [0; 0], "a reader ahead of the announced revision waits");
    }

    /// A watcher is woken by a change while `others` more are subscribed.
    async fn is_woken(others: usize) {
        let log = ChangeLog::new(8);
        let mut watcher = log.subscribe();
        let _others: Vec<_> = (0..others).map(|_| log.subscribe()).collect();
        log.publish([Some(draft("a"))]);
        tokio::select! {
            () = log.run_notifier() => unreachable!("it runs until dropped"),
            changed = watcher.changed() => changed.unwrap(),
        }
        assert_eq!(*watcher.borrow(), 1);
    }

    #[tokio::test]
    async fn few_and_many_watchers_are_woken() {
        for others in [0, FEW - 1, FEW, 10 * FEW] {
            is_woken(others).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_watchers_are_woken_in_rounds() {
        let log = ChangeLog::new(8);
        let mut watchers: Vec<_> = (0..1_000).map(|_| log.subscribe()).collect();
        let start = Instant::now();
        let (notifier, watcher) = (log.run_notifier(), watchers.pop());
        let mut watcher = watcher.unwrap();
        let rounds = async {
            for _ in 0..3 {
                log.publish([Some(draft("a"))]);
                watcher.changed().await.unwrap();
            }
        };
        tokio::select! {
            () = notifier => unreachable!("it runs until dropped"),
            () = rounds => {}
        }
        assert_eq!(start.elapsed().as_millis(), 20, "the first at once, then one every 10 ms");
    }
}
