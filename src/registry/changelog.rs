//! Revisions, and the bounded memory of what changed.
//!
//! Each visible change gets the next revision and one place in a ring. A
//! watcher is a cursor into it: writers do the same small work for no watcher
//! and for a hundred thousand, and a slow reader holds no queue of its own.
//! Whoever falls out of the ring is told so and starts from a snapshot.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::{
    model::{Workload, WorkloadKey},
    runtime::sync::Mutex,
};

/// Changes that a reader takes while it holds the lock: some 20 us, which is
/// how long a writer may have to wait for it.
const CHUNK: usize = 128;
/// So few watchers the writer wakes itself, which is quicker for them and costs
/// it a microsecond; more are woken by a task.
const FEW: usize = 8;
/// Between two rounds of waking, for each watcher: a hundred thousand are woken
/// in a second at most, and what changes meanwhile comes to them as one step.
const PAUSE_PER_WATCHER: Duration = Duration::from_micros(10);
/// Less is not worth a timer, whose ticks are as long.
const LEAST_PAUSE: Duration = Duration::from_millis(1);
/// More would be felt: 10,000 watchers hear ten times a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

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
    /// Revisions that it takes. Another object under the same name is a deletion and a
    /// creation, each with a revision of its own, so that a reader that stops between
    /// the two knows what was deleted and misses only what was created.
    fn revisions(&self) -> u64 {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) if old.identity.uid != new.identity.uid => 2,
            _ => 1,
        }
    }
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
    /// Revisions after which looks under way need every change, and how many
    /// of them do.
    looks: BTreeMap<u64, usize>,
}

impl State {
    fn append(
        &mut self,
        old: Option<Arc<Workload>>,
        new: Option<Workload>,
        at: Instant,
        continues: bool,
    ) -> Published {
        self.head += 1;
        let new = new.map(|new| Arc::new(new.stamped(self.head)));
        self.ring.push_back(Change { revision: self.head, old, new: new.clone(), at, continues });
        new
    }

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

    /// Lets the first change get the revision after this one. To be said before
    /// there is any.
    pub fn begin_after(&self, revision: u64) {
        self.state.lock().head = revision;
        self.head.send_replace(revision);
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
        let mut left = drafts.iter().flatten().map(Draft::revisions).sum::<u64>();
        if left == 0 {
            return [const { None }; N];
        }
        let at = Instant::now();
        let mut state = self.state.lock();
        let published = drafts.map(|draft| {
            let draft = draft?;
            let replaces = draft.revisions() > 1;
            let Draft { mut old, new } = draft;
            let mut append = |old, new| {
                left -= 1;
                state.append(old, new, at, left > 0)
            };
            if replaces {
                append(old.take(), None);
            }
            Some(append(old, new))
        });
        state.trim(self.capacity);
        let head = state.head;
        drop(state);
        if self.head.receiver_count() <= FEW {
            self.wake(head);
        } else {
            self.bell.notify_one();
        }
        published
    }

    /// The changes after a revision and up to another, oldest first: about
    /// `limit` of them, and never a part of a step. `None` if the log does not
    /// reach back so far, or has not come so far.
    pub fn read(&self, after: u64, until: u64, limit: usize) -> Option<Vec<Change>> {
        let mut changes: Vec<Change> = Vec::new();
        loop {
            let read_to = changes.last().map_or(after, |change| change.revision);
            let chunk = CHUNK.min(limit - changes.len());
            let state = self.state.lock();
            let place = |revision| {
                let newer = usize::try_from(state.head.checked_sub(revision)?).ok()?;
                state.ring.len().checked_sub(newer)
            };
            let (from, end) = (place(read_to)?, place(until.max(read_to))?);
            let mut to = from.saturating_add(chunk).min(end);
            while to > from && to < end && state.ring[to - 1].continues {
                to += 1;
            }
            changes.extend(state.ring.range(from..to).cloned());
            if to == end || changes.len() >= limit {
                return Some(changes);
            }
        }
    }

    /// Begins to look at states that change meanwhile, in order to see them as
    /// they are at the newest revision.
    pub fn look(&self) -> Look<'_> {
        let mut state = self.state.lock();
        let head = state.head;
        self.begin(&mut state, head)
    }

    /// The same for an earlier revision. `None` if the log does not reach back so
    /// far, or has not come so far.
    pub fn look_back(&self, revision: u64) -> Option<Look<'_>> {
        let mut state = self.state.lock();
        let newer = usize::try_from(state.head.checked_sub(revision)?).ok()?;
        state.ring.len().checked_sub(newer)?;
        Some(self.begin(&mut state, revision))
    }

    fn begin(&self, state: &mut State, revision: u64) -> Look<'_> {
        *state.looks.entry(revision).or_default() += 1;
        Look { log: self, revision }
    }

    /// Wakes whenever the head has moved, and says where it was when it was
    /// last announced: all who wake in one round can read up to the same
    /// revision. Subscribe before you look.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Carries the news to the watchers where they are many. A writer then only
    /// rings the bell, which costs the same for any number of them; this task
    /// does the waking, once for all changes that came since the last time. Runs
    /// until dropped.
    pub async fn carry_news(&self) {
        loop {
            self.bell.notified().await;
            self.wake(self.head());
            let watchers = u32::try_from(self.head.receiver_count()).unwrap_or(u32::MAX);
            let pause = PAUSE_PER_WATCHER.saturating_mul(watchers).min(LONGEST_PAUSE);
            if pause >= LEAST_PAUSE {
                sleep(pause).await;
            }
        }
    }

    /// Of two writers the one with the older news may come last.
    fn wake(&self, head: u64) {
        self.head.send_modify(|known| *known = head.max(*known));
    }
}

/// A look under way: while it lives, the log keeps the changes since its
/// revision.
#[derive(Debug)]
pub struct Look<'a> {
    log: &'a ChangeLog,
    revision: u64,
}

impl Look<'_> {
    /// What is seen is brought to this revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// After the look: how things were at the revision that have changed since.
    /// What is not named here was then as it was seen.
    pub fn undo(&self) -> HashMap<WorkloadKey, Published> {
        let mut undo = HashMap::new();
        let (mut revision, head) = (self.revision, self.log.head());
        while revision < head
            && let Some(changes) = self.log.read(revision, head, CHUNK)
        {
            for change in changes {
                revision = change.revision;
                undo.entry(change.key().clone()).or_insert(change.old);
            }
        }
        undo
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        let mut state = self.log.state.lock();
        if let Some(looks) = state.looks.get_mut(&self.revision) {
            *looks -= 1;
            if *looks == 0 {
                state.looks.remove(&self.revision);
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

    impl ChangeLog {
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
    fn a_log_that_begins_later_knows_nothing_of_before() {
        let log = ChangeLog::new(8);
        log.begin_after(1_000);
        assert_eq!(revisions(log.read_after(1_000, 9)), [0; 0]);
        log.publish([Some(draft("a"))]);
        assert_eq!(revisions(log.read_after(1_000, 9)), [1_001]);
        assert!(log.read_after(999, 9).is_none() && log.look_back(0).is_none());
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
    fn another_object_of_the_same_name_is_a_deletion_and_a_creation_in_one_step() {
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
    fn a_look_is_brought_to_one_revision_whatever_the_log_forgets_meanwhile() {
        let log = ChangeLog::new(1);
        let [a] = log.publish([Some(draft("a"))]);
        let look = log.look();
        assert!(look.undo().is_empty());
        for name in ["b", "c", "b"] {
            log.publish([Some(draft(name))]);
        }
        log.publish([Some(Draft::remove(a.flatten().unwrap()))]);
        let mut undo: Vec<_> = look.undo().into_iter().map(|(key, old)| (key.name, old)).collect();
        undo.sort_by(|(a, _), (b, _)| a.cmp(b));
        let undo: Vec<_> = undo.iter().map(|(name, old)| (name.as_str(), old.is_some())).collect();
        assert_eq!((look.revision(), undo), (1, vec![("a", true), ("b", false), ("c", false)]));
        drop(look);
        assert_eq!(revisions(log.read_after(4, 9)), [5]);
        assert!(log.read_after(3, 9).is_none(), "what only the look needed is forgotten");
        assert!(log.look_back(3).is_none() && log.look_back(6).is_none());
        assert_eq!(log.look_back(4).unwrap().undo().len(), 1);
    }

    #[test]
    fn a_long_read_is_taken_in_chunks_and_misses_nothing() {
        let log = ChangeLog::new(4 * CHUNK);
        for name in 0..3 * CHUNK {
            log.publish([Some(draft(&format!("w{name}")))]);
        }
        let all: Vec<_> = (1..).take(3 * CHUNK).collect();
        assert_eq!(revisions(log.read_after(0, usize::MAX)), all);
        assert_eq!(revisions(log.read_after(0, CHUNK + 1)), all[..=CHUNK]);
        assert_eq!(revisions(log.read_after(7, 1)), [8]);
        assert_eq!(revisions(log.read(3, 5, 9)), [4, 5]);
        assert_eq!(revisions(log.read(5, 3, 9)), [0; 0], "who knows more than was announced waits");
    }

    /// A watcher of ours hears of a change; `crowd` others are there as well.
    async fn is_woken(crowd: usize) {
        let log = ChangeLog::new(8);
        let mut news = log.subscribe();
        let _crowd: Vec<_> = (0..crowd).map(|_| log.subscribe()).collect();
        log.publish([Some(draft("a"))]);
        tokio::select! {
            () = log.carry_news() => unreachable!("it runs for ever"),
            changed = news.changed() => changed.unwrap(),
        }
        assert_eq!(*news.borrow(), 1);
    }

    #[tokio::test]
    async fn few_and_many_watchers_are_woken() {
        for crowd in [0, FEW - 1, FEW, 10 * FEW] {
            is_woken(crowd).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_watchers_are_woken_in_rounds() {
        let log = ChangeLog::new(8);
        let mut crowd: Vec<_> = (0..1_000).map(|_| log.subscribe()).collect();
        let start = Instant::now();
        let (news, watcher) = (log.carry_news(), crowd.pop());
        let mut watcher = watcher.unwrap();
        let rounds = async {
            for _ in 0..3 {
                log.publish([Some(draft("a"))]);
                watcher.changed().await.unwrap();
            }
        };
        tokio::select! {
            () = news => unreachable!("it runs for ever"),
            () = rounds => {}
        }
        assert_eq!(start.elapsed().as_millis(), 20, "the first at once, then one each 10 ms");
    }
}
