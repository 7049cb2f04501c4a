//! How changes are combined into deltas. Pure functions of changes.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::batch::Delta;
use crate::{model::WorkloadKey, registry::log::Change};

/// How the changes of a range are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflation {
    /// One delta for each Workload. For readers that resume after whole batches only.
    PerWorkload,
    /// Creations and deletions are kept, each at its own revision, and only updates are
    /// combined. For readers that may resume after any single delta.
    PerLifetime,
}

/// A delta without a filter, and when the first change in it was published.
#[derive(Debug)]
pub(super) struct Conflated {
    pub(super) delta: Delta,
    pub(super) since: Instant,
}

/// The deltas of `changes` in the order of their revisions. A reader with a filter takes
/// from each delta the states that match.
pub(super) fn conflate(conflation: Conflation, changes: &[Change]) -> Vec<Conflated> {
    match conflation {
        Conflation::PerWorkload => per_workload(changes),
        Conflation::PerLifetime => per_lifetime(changes),
    }
}

/// Compares the state before the first and after the last change of each Workload.
fn per_workload(changes: &[Change]) -> Vec<Conflated> {
    let mut ranges: HashMap<&WorkloadKey, (&Change, &Change)> = HashMap::new();
    for change in changes {
        ranges.entry(change.key()).and_modify(|(_, last)| *last = change).or_insert((change, change));
    }
    let visible = ranges.into_values().filter(|(first, last)| first.old.is_some() || last.new.is_some());
    let conflated = |(first, last): (&Change, &Change)| Conflated {
        delta: Delta { before: first.old.clone(), now: last.new.clone(), revision: last.revision },
        since: first.at,
    };
    let mut deltas: Vec<_> = visible.map(conflated).collect();
    deltas.sort_unstable_by_key(|conflated| conflated.delta.revision);
    deltas
}

/// Combines only consecutive updates of one object, at the revision of the last. A
/// reader that stops after any delta and resumes at its revision then knows every
/// object that existed at that revision and no other. A delta that combined a deletion
/// with a later creation would hide the deletion from it.
fn per_lifetime(changes: &[Change]) -> Vec<Conflated> {
    let mut deltas: Vec<Option<Conflated>> = Vec::new();
    // The index of each object's latest update, which its next change replaces, and when
    // the first of the updates that it combines was published.
    let mut updates: HashMap<&WorkloadKey, (usize, Instant)> = HashMap::new();
    for change in changes {
        let mut since = change.at;
        if let Some((replaced, first)) = updates.remove(change.key()) {
            deltas[replaced] = None;
            since = first;
        }
        // With another identity, the update could match other filters than its object did.
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && Arc::ptr_eq(&old.identity, &new.identity)
        {
            updates.insert(change.key(), (deltas.len(), since));
        }
        let delta = Delta { before: change.old.clone(), now: change.new.clone(), revision: change.revision };
        deltas.push(Some(Conflated { delta, since }));
    }
    deltas.into_iter().flatten().collect()
}
