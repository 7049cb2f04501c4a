//! Reads of Workloads and groups.

use std::sync::Arc;

use super::{
    Registry, Snapshot,
    counts::{Entry, EntryKey, Members},
    log::ReadView,
};
use crate::model::{Counts, Filter, MeshName, Namespace, Workload, WorkloadKey};

/// A page of a listing of Workloads.
#[derive(Debug)]
pub struct Page {
    /// In the order of their keys.
    pub workloads: Vec<Arc<Workload>>,
    /// The next page begins after this key; none if this is the last page.
    pub next_after: Option<WorkloadKey>,
    /// The revision that all pages of the listing show.
    pub revision: u64,
}

/// A listing can't be continued at its revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much has changed since revision {revision}: list again from the first page")]
pub struct PageError {
    /// The listing's revision.
    pub revision: u64,
}

/// The dataplanes of one mesh that carry one workload label, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Their mesh.
    pub mesh: MeshName,
    /// The workload that they name; none for dataplanes without the label.
    pub workload: Option<WorkloadKey>,
    /// Their numbers.
    pub counts: Counts,
    /// Whether the Workload of this name is theirs.
    pub holds: bool,
    /// Whether dataplanes of other meshes use the name as well.
    pub contested: bool,
}

impl Registry {
    /// A Workload, and the revision at which this answer is true.
    pub fn get(&self, key: &WorkloadKey) -> (Option<Arc<Workload>>, u64) {
        let view = self.shared.log.read_view();
        let entry = self.shared.entries.get(&EntryKey::of_workload(key));
        let current = entry.and_then(|entry| entry.read(|members| members.current().clone()));
        (view.undo().remove(key).unwrap_or(current), view.revision())
    }

    /// All Workloads at the latest revision. Takes milliseconds for 10,000 Workloads.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot_at(&self.shared.log.read_view())
    }

    /// All Workloads at the revision of a view. Writers go on meanwhile; their changes
    /// are undone in the result.
    fn snapshot_at(&self, view: &ReadView<'_>) -> Arc<Snapshot> {
        if let Some(cached) = self.shared.snapshots.find(|cached| cached.revision == view.revision()) {
            return cached;
        }
        let current = |entry: Arc<Entry>| entry.read(|members| members.current().clone());
        let now: Vec<_> = self.shared.entries.all().into_iter().filter_map(current).collect();
        let undo = view.undo();
        let unchanged = now.into_iter().filter(|workload| !undo.contains_key(workload.key()));
        let restored = undo.values().flatten().cloned();
        let mut workloads: Vec<_> = unchanged.chain(restored).collect();
        workloads.sort_unstable_by(|one, other| one.key().cmp(other.key()));
        let snapshot = Arc::new(Snapshot { revision: view.revision(), workloads });
        self.shared.snapshots.insert(Arc::clone(&snapshot));
        snapshot
    }

    /// A page of the Workloads that match, after a key. All pages of a listing show one
    /// revision: `at` is none for the first page and the first page's revision for the
    /// others.
    ///
    /// # Errors
    ///
    /// If the log no longer reaches the revision `at`.
    pub fn list(
        &self,
        filter: &Filter,
        size: usize,
        at: Option<u64>,
        after: Option<&WorkloadKey>,
    ) -> Result<Page, PageError> {
        let snapshot = match at {
            None => self.snapshot(),
            Some(revision) => {
                let view = self.shared.log.read_view_at(revision).ok_or(PageError { revision })?;
                self.snapshot_at(&view)
            }
        };
        let start =
            after.map_or(0, |after| snapshot.workloads.partition_point(|workload| workload.key() <= after));
        let mut matching = snapshot.workloads[start..].iter().filter(|workload| filter.matches(workload));
        let workloads: Vec<_> = matching.by_ref().take(size).cloned().collect();
        let next_after = matching.next().and_then(|_| Some(workloads.last()?.key().clone()));
        Ok(Page { workloads, next_after, revision: snapshot.revision })
    }

    /// The numbers of all groups, each true at some instant during the call.
    pub fn groups(&self) -> Vec<GroupView> {
        let mut views = Vec::new();
        for entry in self.shared.entries.all() {
            let workload = entry.key().workload_key();
            entry.read(|members| views.extend(group_views(workload.as_ref(), members)));
        }
        views
    }

    /// Another mesh that has registered dataplanes in a namespace: the first by name if
    /// there are several.
    pub fn other_mesh(&self, namespace: &Namespace, mesh: &MeshName) -> Option<MeshName> {
        let entries = self.shared.entries.all().into_iter();
        let others = entries.filter(|entry| entry.key().namespace == *namespace).filter_map(|entry| {
            entry.read(|members| {
                members.groups().iter().map(|group| &group.mesh).filter(|other| *other != mesh).min().cloned()
            })
        });
        others.min()
    }
}

fn group_views(workload: Option<&WorkloadKey>, members: &Members) -> impl Iterator<Item = GroupView> {
    let (groups, current) = (members.groups(), members.current().as_ref());
    groups.iter().map(move |group| GroupView {
        mesh: group.mesh.clone(),
        workload: workload.cloned(),
        counts: group.counts,
        holds: current.is_some_and(|workload| workload.identity.mesh == group.mesh),
        contested: workload.is_some() && groups.len() > 1,
    })
}
