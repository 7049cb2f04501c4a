//! What watchers are told, step by step, and the steps that several share.
//!
//! Watchers who look for the same and have seen the same are told the same. So
//! whoever comes first works a step out, and encodes it, for all.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    vec,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::registry::recent_cache::Recent;
use crate::{
    model::{Filter, MeshName, Workload, WorkloadKey},
    registry::log::change_log::{Change, ChangeLog},};

/// Changes that are conflated at a time.
const BATCH: usize = 2_048;
/// Workloads in one step at most. A stream's buffer stays as large as its
/// largest message: 64 Workloads are 16 KiB with usual names, 64 KiB with the
/// longest.
const STEP_SIZE: usize = 64;
/// Steps that are kept to be shared: of a few filters, and of readers who are
/// not equally quick.
const SHARED_STEPS: usize = 16;

/// What to tell the reader next.
#[derive(Debug, Default)]
pub struct Step {
    /// Forget what was told before.
    pub reset: bool,
    /// In the order of their revisions; those of a snapshot by their keys.
    pub told: Vec<Told>,
    /// The reader now knows everything up to this revision.
    pub synced: Option<u64>,
    /// When the oldest change in it was stamped.
    pub oldest: Option<Instant>,
    /// Each made by the first reader who needs it.
    encoded: [OnceLock<Bytes>; 3],
}

/// In what a step is written that readers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A message.
    Protobuf,
    /// Objects.
    Json,
    /// Rows.
    Table,
}

/// What became of one Workload, to a reader's eyes: what the reader's filter
/// hides is not there. Never nothing before and nothing now.
#[derive(Debug, Clone)]
pub struct Told {
    /// What the reader knew.
    pub before: Option<Arc<Workload>>,
    /// What there is now.
    pub now: Option<Arc<Workload>>,
    /// Of the last change.
    pub revision: u64,
}

impl Step {
    /// Says how far the reader is, and nothing else.
    pub(crate) fn bookmark(synced: Option<u64>) -> Self {
        Self { synced, ..Self::default() }
    }

    /// Workloads that are new, changed, or come to match.
    pub fn upserted(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.told.iter().filter_map(|told| told.now.as_ref())
    }

    /// Workloads that are gone or no longer match; with the mesh the reader knew.
    pub fn removed(&self) -> impl Iterator<Item = (&WorkloadKey, &MeshName)> {
        let gone = self.told.iter().filter(|told| told.now.is_none());
        gone.filter_map(|told| told.before.as_ref()).map(|gone| (gone.key(), &gone.identity.mesh))
    }

    /// One of its encodings, made by `encode` the first time and shared from then on.
    pub fn encoded(&self, encoding: Encoding, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.encoded[encoding as usize].get_or_init(|| encode(self)).clone()
    }
}

/// A snapshot, or what a batch of changes comes to, told in parts. What has not
/// been told yet is the one thing a watcher keeps for itself: a pointer or two
/// for each Workload, in one allocation that only shrinks.
#[derive(Debug)]
pub(crate) struct Telling {
    reset: bool,
    left: Left,
    revision: u64,
    oldest: Option<Instant>,
}

#[derive(Debug)]
enum Left {
    Snapshot(vec::IntoIter<Arc<Workload>>),
    Changes(vec::IntoIter<Told>),
}

impl Telling {
    /// All there is at a revision.
    pub(crate) fn snapshot(workloads: Vec<Arc<Workload>>, revision: u64) -> Self {
        Self { reset: true, left: Left::Snapshot(workloads.into_iter()), revision, oldest: None }
    }

    /// Keeps the state before the first and after the last change of each
    /// Workload, and says what the difference is to a reader with this filter.
    fn conflate(filter: &Filter, changes: &[Change], revision: u64) -> Self {
        let mut spans: HashMap<&WorkloadKey, (&Change, &Change)> = HashMap::new();
        for change in changes {
            spans.entry(change.key()).and_modify(|(_, last)| *last = change).or_insert((change, change));
        }
        let (mut told, mut oldest) = (Vec::new(), None::<Instant>);
        for (first, last) in spans.into_values() {
            let matching =
                |state: &Option<Arc<Workload>>| state.clone().filter(|workload| filter.matches(workload));
            let (before, now) = (matching(&first.old), matching(&last.new));
            if before.is_some() || now.is_some() {
                told.push(Told { before, now, revision: last.revision });
                oldest = Some(oldest.map_or(first.at, |at| at.min(first.at)));
            }
        }
        // Whoever has read up to one of them knows all that was before it.
        told.sort_unstable_by_key(|told| told.revision);
        Self { reset: false, left: Left::Changes(told.into_iter()), revision, oldest }
    }

    /// Combines only consecutive updates of one object, at the revision of the last.
    /// A reader that stops after any entry and resumes at its revision then has every
    /// object that existed at that revision, and no other: an entry for an object that
    /// is deleted and created again later would hide the deletion until then.
    fn lifetimes(filter: &Filter, changes: &[Change], revision: u64) -> Self {
        let visible =
            |state: &Option<Arc<Workload>>| state.clone().filter(|workload| filter.matches(workload));
        let mut told: Vec<Option<Told>> = Vec::new();
        // The place of each object's latest update, which the next change replaces.
        let mut updates: HashMap<&WorkloadKey, usize> = HashMap::new();
        let mut oldest = None::<Instant>;
        for change in changes {
            let (before, now) = (visible(&change.old), visible(&change.new));
            if before.is_none() && now.is_none() {
                continue;
            }
            oldest.get_or_insert(change.at);
            if let Some(replaced) = updates.remove(change.key()) {
                told[replaced] = None;
            }
            if before.is_some() && now.is_some() {
                updates.insert(change.key(), told.len());
            }
            told.push(Some(Told { before, now, revision: change.revision }));
        }
        let told: Vec<_> = told.into_iter().flatten().collect();
        Self { reset: false, left: Left::Changes(told.into_iter()), revision, oldest }
    }

    fn left(&self) -> usize {
        match &self.left {
            Left::Snapshot(workloads) => workloads.len(),
            Left::Changes(told) => told.len(),
        }
    }

    /// The next part; the last one says that it is the last.
    pub(crate) fn part(&mut self) -> Step {
        let told = match &mut self.left {
            Left::Snapshot(workloads) => {
                let there = |workload: Arc<Workload>| Told {
                    revision: workload.revision,
                    before: None,
                    now: Some(workload),
                };
                workloads.by_ref().take(STEP_SIZE).map(there).collect()
            }
            Left::Changes(told) => told.by_ref().take(STEP_SIZE).collect(),
        };
        let synced = (self.left() == 0).then_some(self.revision);
        let reset = std::mem::take(&mut self.reset);
        Step { reset, told, synced, oldest: self.oldest, encoded: <[OnceLock<Bytes>; 3]>::default() }
    }
}

/// How the changes of one batch are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conflation {
    /// One entry for each Workload: its state before the first and after the last
    /// change. For readers that resume after a whole step only.
    Batch,
    /// Creations and deletions are kept, each at its own revision, and only updates
    /// are combined. For readers that may resume after any single entry.
    Lifetimes,
}

/// Where a reader is, and how far it is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) filter: Arc<Filter>,
    pub(crate) conflation: Conflation,
    /// Everything up to this revision is known to it.
    pub(crate) after: u64,
    /// The revision that was last announced.
    pub(crate) until: u64,
}

/// What comes next in a span.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing yet.
    Nothing,
    /// The log does not reach back so far.
    OutOfReach,
    /// Up to this revision nothing that the reader looks for.
    Unseen { revision: u64 },
    /// This.
    Step(Arc<Step>),
    /// More than one step can say.
    Parts(Telling),
}

/// The newest steps that were worked out.
#[derive(Debug, Default)]
pub(crate) struct Steps(Recent<(Span, Arc<Step>), SHARED_STEPS>);

impl Steps {
    /// What to tell the readers in a span.
    pub(crate) fn next(&self, log: &ChangeLog, span: &Span) -> Next {
        if let Some((_, step)) = self.0.find(|(known, _)| known == span) {
            return Next::Step(step);
        }
        let Some(changes) = log.read(span.after, span.until, BATCH) else {
            return Next::OutOfReach;
        };
        let Some(revision) = changes.last().map(|change| change.revision) else {
            return Next::Nothing;
        };
        let mut telling = match span.conflation {
            Conflation::Batch => Telling::conflate(&span.filter, &changes, revision),
            Conflation::Lifetimes => Telling::lifetimes(&span.filter, &changes, revision),
        };
        match telling.left() {
            0 => Next::Unseen { revision },
            1..=STEP_SIZE => {
                let step = Arc::new(telling.part());
                self.0.keep((span.clone(), Arc::clone(&step)));
                Next::Step(step)
            }
            _ => Next::Parts(telling),
        }
    }
}
