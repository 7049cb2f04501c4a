//! The latest commits of a store, which its watches read. A watch has a cursor and no queue, so
//! a slow one costs no memory: it fails when the commits that it needs are gone.

use std::{collections::VecDeque, sync::Arc};

use futures_util::stream;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Change, Watch, WatchError};

/// The most memory that the commits of a history take, in bytes; the latest commit is kept
/// whatever its size. At 15,000 registrations per second this is about two seconds.
pub(super) const MOST_BYTES: usize = 8 * 1024 * 1024;

/// The history of one store. Its watches end when it is dropped.
#[derive(Debug)]
pub(super) struct History {
    recent: Arc<Mutex<Recent>>,
    /// The revision of the latest commit.
    head: watch::Sender<u64>,
}

#[derive(Debug)]
struct Recent {
    commits: VecDeque<Arc<Commit>>,
    /// Of all commits.
    bytes: usize,
    most_bytes: usize,
    /// The latest revision whose changes are gone.
    compacted: u64,
}

#[derive(Debug)]
struct Commit {
    revision: u64,
    changes: Vec<Change>,
    bytes: usize,
}

impl History {
    /// The history of a store whose latest revision is this one.
    pub(super) fn new(revision: u64, most_bytes: usize) -> Self {
        let recent = Recent { commits: VecDeque::new(), bytes: 0, most_bytes, compacted: revision };
        Self { recent: Arc::new(Mutex::new(recent)), head: watch::Sender::new(revision) }
    }

    /// Appends a commit. Its revision must be greater than that of every earlier one.
    pub(super) fn publish(&self, revision: u64, changes: Vec<Change>) {
        let bytes = changes.iter().map(bytes).sum();
        self.recent.lock().push(Commit { revision, changes, bytes });
        self.head.send_replace(revision);
    }

    /// See [`super::Store::watch`].
    pub(super) fn watch(&self, prefix: &[u8], after: u64) -> Watch {
        let cursor = Cursor {
            recent: self.recent.clone(),
            head: self.head.subscribe(),
            prefix: prefix.to_vec(),
            position: after,
        };
        Box::pin(stream::unfold(Some(cursor), async |cursor| {
            let mut cursor = cursor?;
            match cursor.next().await {
                Ok(changes) => changes.map(|changes| (Ok(changes), Some(cursor))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

impl Recent {
    fn push(&mut self, commit: Commit) {
        self.bytes += commit.bytes;
        self.commits.push_back(Arc::new(commit));
        while self.bytes > self.most_bytes && self.commits.len() > 1 {
            if let Some(oldest) = self.commits.pop_front() {
                self.bytes -= oldest.bytes;
                self.compacted = oldest.revision;
            }
        }
    }

    /// The first commit after a revision; none if there is none yet.
    fn after(&self, revision: u64) -> Result<Option<Arc<Commit>>, WatchError> {
        if revision < self.compacted {
            return Err(WatchError::Compacted(revision));
        }
        let index = self.commits.partition_point(|commit| commit.revision <= revision);
        Ok(self.commits.get(index).cloned())
    }
}

/// The position of a watch.
struct Cursor {
    recent: Arc<Mutex<Recent>>,
    head: watch::Receiver<u64>,
    prefix: Vec<u8>,
    position: u64,
}

impl Cursor {
    /// The changes of the next commit that changes a key under the prefix; none if the store was
    /// dropped.
    async fn next(&mut self) -> Result<Option<Vec<Change>>, WatchError> {
        loop {
            self.head.mark_unchanged();
            // A statement of its own, so that the lock is not held while this waits.
            let commit = self.recent.lock().after(self.position)?;
            let Some(commit) = commit else {
                if self.head.changed().await.is_err() {
                    return Ok(None);
                }
                continue;
            };
            self.position = commit.revision;
            let matches = |change: &&Change| change.key().starts_with(&self.prefix);
            let changes: Vec<_> = commit.changes.iter().filter(matches).cloned().collect();
            if !changes.is_empty() {
                return Ok(Some(changes));
            }
        }
    }
}

/// The memory that a change takes.
fn bytes(change: &Change) -> usize {
    let value = match change {
        Change::Put(item) => item.value.len(),
        Change::Delete { .. } => 0,
    };
    size_of::<Change>() + change.key().len() + value
}
