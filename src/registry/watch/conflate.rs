//! How changes are combined into deltas. Pure functions of a filter and changes.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::batch::{Delta, PendingDeltas};
use crate::{
    model::{Filter, Workload, WorkloadKey},
    registry::log::Change,
};

/// How the changes of a range are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflation {
    /// One delta for each Workload. For readers that resume after whole batches only.
    PerWorkload,
    /// Creations and deletions are kept, each at its own revision, and only updates are
    /// combined. For readers that may resume after any single delta.
    PerLifetime,
}

/// The deltas of `changes`, which end at `revision`, for a reader with this filter.
pub(super) fn conflate(
    conflation: Conflation,
    filter: &Filter,
    changes: &[Change],
    revision: u64,
) -> PendingDeltas {
    let visible = |state: &Option<Arc<Workload>>| state.clone().filter(|workload| filter.matches(workload));
    let (deltas, oldest) = match conflation {
        Conflation::PerWorkload => per_workload(visible, changes),
        Conflation::PerLifetime => per_lifetime(visible, changes),
    };
    PendingDeltas::deltas(deltas, revision, oldest)
}

type Deltas = (Vec<Delta>, Option<Instant>);

/// Compares the state before the first and after the last change of each Workload.
fn per_workload(
    visible: impl Fn(&Option<Arc<Workload>>) -> Option<Arc<Workload>>,
    changes: &[Change],
) -> Deltas {
    let mut ranges: HashMap<&WorkloadKey, (&Change, &Change)> = HashMap::new();
    for change in changes {
        ranges.entry(change.key()).and_modify(|(_, last)| *last = change).or_insert((change, change));
    }
    let (mut deltas, mut oldest) = (Vec::new(), None::<Instant>);
    for (first, last) in ranges.into_values() {
        let (before, now) = (visible(&first.old), visible(&last.new));
        if before.is_some() || now.is_some() {
            deltas.push(Delta { before, now, revision: last.revision });
            oldest = Some(oldest.map_or(first.at, |at| at.min(first.at)));
        }
    }
    deltas.sort_unstable_by_key(|delta| delta.revision);
    (deltas, oldest)
}

/// Combines only consecutive updates of one object, at the revision of the last. A
/// reader that stops after any delta and resumes at its revision then knows every
/// object that existed at that revision and no other. A delta that combined a deletion
/// with a later creation would hide the deletion from it.
fn per_lifetime(
    visible: impl Fn(&Option<Arc<Workload>>) -> Option<Arc<Workload>>,
    changes: &[Change],
) -> Deltas {
    let mut deltas: Vec<Option<Delta>> = Vec::new();
    // The index of each object's latest update, which its next change replaces.
    let mut updates: HashMap<&WorkloadKey, usize> = HashMap::new();
    let mut oldest = None::<Instant>;
    for change in changes {
        let (before, now) = (visible(&change.old), visible(&change.new));
        if before.is_none() && now.is_none() {
            continue;
        }
        oldest.get_or_insert(change.at);
        if let Some(replaced) = updates.remove(change.key()) {
            deltas[replaced] = None;
        }
        if before.is_some() && now.is_some() {
            updates.insert(change.key(), deltas.len());
        }
        deltas.push(Some(Delta { before, now, revision: change.revision }));
    }
    (deltas.into_iter().flatten().collect(), oldest)
}
