//! Revisions, and the bounded memory of what changed.
//!
//! Each visible change gets the next revision and one place in a ring. A
//! watcher is a cursor into it: writers do the same small work for no watcher
//! and for a hundred thousand, and a slow reader holds no queue of its own.
//! Whoever falls out of the ring is told so and starts from a snapshot.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    model::{Workload, WorkloadKey},
    sync::Mutex,
};

/// One visible change of one Workload.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its number.
    pub revision: u64,
    /// The state before; none if it came to be.
    pub old: Option<Arc<Workload>>,
    /// The state since; none if it is gone.
    pub new: Option<Arc<Workload>>,
    /// When it was stamped.
    pub at: Instant,
    /// The next revision belongs to the same step, so readers may not stop here.
    continues: bool,
}

impl Change {
    /// The Workload it is about.
    #[expect(clippy::missing_panics_doc, reason = "every way to make a draft gives it a state")]
    pub fn key(&self) -> &WorkloadKey {
        let state = self.new.as_ref().or(self.old.as_ref());
        state.expect("a change has a state before or after it").key()
    }
}

/// A change that has no revision yet.
#[derive(Debug)]
pub struct Draft {
    old: Option<Arc<Workload>>,
    new: Option<Workload>,
}

impl Draft {
    /// A Workload comes to be, or changes.
    pub fn upsert(old: Option<Arc<Workload>>, new: Workload) -> Self {
        Self { old, new: Some(new) }
    }

    /// A Workload ceases to be.
    pub fn remove(old: Arc<Workload>) -> Self {
        Self { old: Some(old), new: None }
    }
}

/// The state that a published draft left behind; none if the Workload is gone.
pub type Published = Option<Arc<Workload>>;

/// See the module's documentation.
#[derive(Debug)]
pub struct ChangeLog {
    epoch: Box<str>,
    capacity: usize,
    state: Mutex<State>,
    bell: Notify,
    head: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    head: u64,
    /// The newest changes, with consecutive revisions that end at `head`.
    ring: VecDeque<Change>,
    /// Revisions behind which looks under way need every change, and how many
    /// of them do.
    looks: BTreeMap<u64, usize>,
}

impl State {
    /// Forgets what is too much, but nothing that a look under way needs. Looks
    /// take milliseconds, so that is little.
    fn trim(&mut self, capacity: usize) {
        let needed = self.looks.first_key_value().map_or(u64::MAX, |(revision, _)| *revision);
        while self.ring.len() > capacity && self.ring.front().is_some_and(|change| change.revision <= needed)
        {
            self.ring.pop_front();
        }
    }
}

impl ChangeLog {
    /// An empty log that remembers `capacity` changes.
    pub fn new(capacity: usize) -> Self {
        Self {
            epoch: Uuid::new_v4().simple().to_string()[..16].into(),
            capacity: capacity.max(1),
            state: Mutex::default(),
            bell: Notify::new(),
            head: watch::Sender::new(0),
        }
    }

    /// Names this life of the server. Revisions of another can't be compared.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The newest revision.
    pub fn head(&self) -> u64 {
        self.state.lock().head
    }

    /// Stamps and records the changes of one step, which readers see together.
    /// The caller holds the locks of the Workloads concerned, so that the order
    /// of revisions is the order of states.
    pub fn publish<const N: usize>(&self, drafts: [Option<Draft>; N]) -> [Option<Published>; N] {
        let mut left = drafts.iter().flatten().count();
        if left == 0 {
            return [const { None }; N];
        }
        let at = Instant::now();
        let mut state = self.state.lock();
        let published = drafts.map(|draft| {
            let Draft { old, new } = draft?;
            left -= 1;
            state.head += 1;
            let revision = state.head;
            let new = new.map(|new| Arc::new(new.stamped(revision)));
            let change = Change { revision, old, new: new.clone(), at, continues: left > 0 };
            state.ring.push_back(change);
            Some(new)
        });
        state.trim(self.capacity);
        drop(state);
        self.bell.notify_one();
        published
    }

    /// The changes after a revision, oldest first: about `limit` of them, and
    /// never a part of a step. `None` if the log does not reach back so far, or
    /// has not come so far.
    pub fn read_after(&self, revision: u64, limit: usize) -> Option<Vec<Change>> {
        let state = self.state.lock();
        let unread = usize::try_from(state.head.checked_sub(revision)?).ok()?;
        let from = state.ring.len().checked_sub(unread)?;
        let mut to = from.saturating_add(limit).min(state.ring.len());
        while to > from && state.ring[to - 1].continues && to < state.ring.len() {
            to += 1;
        }
        Some(state.ring.range(from..to).cloned().collect())
    }

    /// Looks at something that changes meanwhile, and brings what was seen to
    /// one exact revision: `replay` applies each change since the look began.
    pub fn look<T>(&self, look: impl FnOnce() -> T, mut replay: impl FnMut(&mut T, &Change)) -> (T, u64) {
        let under_way = Look::begin(self);
        let mut seen = look();
        let changes = under_way.changes_since();
        for change in &changes {
            replay(&mut seen, change);
        }
        (seen, changes.last().map_or(under_way.since, |change| change.revision))
    }

    /// Wakes whenever the head has moved. Subscribe before you look.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Carries the news to the watchers. A writer only rings the bell, which
    /// costs the same for any number of them; this task does the waking, once
    /// for all changes that came since the last time. Runs until dropped.
    pub async fn carry_news(&self) {
        loop {
            self.bell.notified().await;
            self.head.send_replace(self.head());
        }
    }
}

/// A look under way: while it lives, the log keeps the changes since it began.
struct Look<'a> {
    log: &'a ChangeLog,
    since: u64,
}

impl<'a> Look<'a> {
    fn begin(log: &'a ChangeLog) -> Self {
        let mut state = log.state.lock();
        let since = state.head;
        *state.looks.entry(since).or_default() += 1;
        Self { log, since }
    }

    fn changes_since(&self) -> Vec<Change> {
        self.log.read_after(self.since, usize::MAX).unwrap_or_default()
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        let mut state = self.log.state.lock();
        if let Some(looks) = state.looks.get_mut(&self.since) {
            *looks -= 1;
            if *looks == 0 {
                state.looks.remove(&self.since);
            }
        }
        state.trim(self.log.capacity);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::model::{Counts, Environment, MeshName, Namespace, WorkloadIdentity, WorkloadName};

    fn draft(name: &str) -> Draft {
        let key = WorkloadKey {
            namespace: Namespace::parse("", "").unwrap(),
            name: WorkloadName::parse_universal("", name).unwrap(),
        };
        let mesh = MeshName::parse("", "default").unwrap();
        let now = SystemTime::UNIX_EPOCH;
        let identity = WorkloadIdentity::new(key, mesh, Environment::Universal, None, now);
        Draft::upsert(None, Workload::draft(Arc::new(identity), Counts::default(), now))
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
    fn nothing_to_publish_costs_no_revision() {
        let log = ChangeLog::new(8);
        assert!(log.publish([None, None]).iter().all(Option::is_none));
        assert_eq!(log.head(), 0);
    }

    #[test]
    fn a_reader_who_fell_out_of_the_ring_is_told() {
        let log = ChangeLog::new(2);
        for name in ["a", "b", "c"] {
            log.publish([Some(draft(name))]);
        }
        assert!(log.read_after(0, 9).is_none());
        assert_eq!(revisions(log.read_after(1, 9)), [2, 3]);
        assert!(log.read_after(4, 9).is_none(), "the future is not known either");
    }

    #[test]
    fn a_step_is_never_read_in_part() {
        let log = ChangeLog::new(8);
        log.publish([Some(draft("a"))]);
        log.publish([Some(draft("b")), Some(draft("c"))]);
        log.publish([Some(draft("d"))]);
        assert_eq!(revisions(log.read_after(0, 1)), [1]);
        assert_eq!(revisions(log.read_after(0, 2)), [1, 2, 3]);
        assert_eq!(revisions(log.read_after(3, 1)), [4]);
    }

    #[test]
    fn a_look_is_brought_to_one_revision() {
        let log = ChangeLog::new(1);
        log.publish([Some(draft("a"))]);
        let look = || {
            for name in ["b", "c", "d"] {
                log.publish([Some(draft(name))]);
            }
            Vec::new()
        };
        let (seen, revision) = log.look(look, |seen, change| seen.push(change.key().name.to_string()));
        assert_eq!(
            (seen, revision),
            (["b", "c", "d"].map(str::to_owned).to_vec(), 4),
            "more than it remembers"
        );
        assert_eq!(revisions(log.read_after(3, 9)), [4]);
        assert!(log.read_after(2, 9).is_none(), "what only the look needed is forgotten");
    }

    #[tokio::test]
    async fn the_bell_wakes_who_subscribed_before() {
        let log = ChangeLog::new(8);
        let mut news = log.subscribe();
        log.publish([Some(draft("a"))]);
        tokio::select! {
            () = log.carry_news() => unreachable!("it runs for ever"),
            changed = news.changed() => changed.unwrap(),
        }
        assert_eq!(*news.borrow(), 1);
    }
}
