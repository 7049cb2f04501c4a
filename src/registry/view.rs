//! What readers see: exact pictures of the registry.

use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::SystemTime};

use super::{Registry, entries::Entry, members::Place, session::SessionId, shared::Presence};
use crate::model::{Counts, Dataplane, DataplaneKey, Filter, HealthReport, MeshName, Workload, WorkloadKey};

/// All Workloads at one revision.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The revision.
    pub revision: u64,
    /// In the order of their keys.
    pub workloads: BTreeMap<WorkloadKey, Arc<Workload>>,
}

/// A part of a listing.
#[derive(Debug)]
pub struct Page {
    /// In the order of their keys.
    pub workloads: Vec<Arc<Workload>>,
    /// The next page begins after this key; none if this is the last.
    pub next_after: Option<WorkloadKey>,
    /// The revision of the whole listing.
    pub revision: u64,
}

/// A listing can't be continued at its revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much has changed since revision {revision}: list again from the first page")]
pub struct PageError {
    /// The listing's revision.
    pub revision: u64,
}

/// The dataplanes of one mesh that carry one workload's name, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Their mesh.
    pub mesh: MeshName,
    /// The name; none for dataplanes that carry none.
    pub workload: Option<WorkloadKey>,
    /// Their numbers.
    pub counts: Counts,
    /// They are what the Workload of this name counts.
    pub holds: bool,
    /// Other meshes use the name as well.
    pub contested: bool,
}

/// A registered dataplane and what is known about it.
#[derive(Debug, Clone)]
pub struct DataplaneView {
    /// As its last hello stated it.
    pub dataplane: Arc<Dataplane>,
    /// The open session.
    pub session: Option<(SessionId, HealthReport)>,
    /// Counted as healthy.
    pub healthy: bool,
    /// When the open session began, or the last one ended.
    pub since: SystemTime,
}

impl Registry {
    /// A Workload, and the revision at which this answer is true.
    pub fn get(&self, key: &WorkloadKey) -> (Option<Arc<Workload>>, u64) {
        let place = Place::of_workload(key);
        let look = || self.shared.entries.get(&place)?.read(|members| members.current().clone());
        self.shared.log.look(look, |seen, change| {
            if change.key() == key {
                seen.clone_from(&change.new);
            }
        })
    }

    /// All Workloads at one revision.
    pub fn snapshot(&self) -> Snapshot {
        let look = || {
            let current = |entry: Arc<Entry>| entry.read(|members| members.current().clone());
            let all = self.shared.entries.all().into_iter().filter_map(current);
            all.map(|workload| (workload.key().clone(), workload)).collect::<BTreeMap<_, _>>()
        };
        let (workloads, revision) = self.shared.log.look(look, |workloads, change| {
            match &change.new {
                Some(new) => workloads.insert(change.key().clone(), Arc::clone(new)),
                None => workloads.remove(change.key()),
            };
        });
        Snapshot { revision, workloads }
    }

    /// A page of the Workloads that match, after a key. All pages of a listing
    /// show one revision: the first page's `at` is none, a later one's is the
    /// first's.
    pub fn list(
        &self,
        filter: &Filter,
        size: usize,
        at: Option<u64>,
        after: Option<&WorkloadKey>,
    ) -> Result<Page, PageError> {
        let mut snapshot = self.snapshot();
        if let Some(revision) = at {
            self.rewind(&mut snapshot, revision)?;
        }
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = snapshot.workloads.range::<WorkloadKey, _>((start, Bound::Unbounded));
        let mut wanted = range.map(|(_, workload)| workload).filter(|workload| filter.matches(workload));
        let workloads: Vec<_> = wanted.by_ref().take(size).cloned().collect();
        let next_after = wanted.next().and_then(|_| Some(workloads.last()?.key().clone()));
        Ok(Page { workloads, next_after, revision: snapshot.revision })
    }

    /// Undoes the changes since a revision: the log knows the state before each.
    fn rewind(&self, snapshot: &mut Snapshot, revision: u64) -> Result<(), PageError> {
        let changes = self.shared.log.read_after(revision, usize::MAX).ok_or(PageError { revision })?;
        let seen = changes.iter().take_while(|change| change.revision <= snapshot.revision);
        for change in seen.collect::<Vec<_>>().into_iter().rev() {
            match &change.old {
                Some(old) => snapshot.workloads.insert(change.key().clone(), Arc::clone(old)),
                None => snapshot.workloads.remove(change.key()),
            };
        }
        snapshot.revision = revision;
        Ok(())
    }

    /// The numbers of all groups, each true at some instant of the call.
    pub fn groups(&self) -> Vec<GroupView> {
        let mut views = Vec::new();
        for entry in self.shared.entries.all() {
            let place = entry.place();
            let key =
                place.workload.clone().map(|name| WorkloadKey { namespace: place.namespace.clone(), name });
            entry.read(|members| {
                let groups = members.groups();
                views.extend(groups.iter().map(|group| GroupView {
                    mesh: group.mesh.clone(),
                    workload: key.clone(),
                    counts: group.counts,
                    holds: members.current().as_ref().is_some_and(|w| w.identity.mesh == group.mesh),
                    contested: key.is_some() && groups.len() > 1,
                }));
            });
        }
        views
    }

    /// Registered dataplanes that `wanted` says yes to, after a key and in the
    /// order of their keys; and where the next page begins, if there are more.
    /// One that leaves meanwhile is left out, so a page may be short.
    pub fn dataplanes(
        &self,
        wanted: impl Fn(&Dataplane) -> bool,
        size: usize,
        after: Option<&DataplaneKey>,
    ) -> (Vec<DataplaneView>, Option<DataplaneKey>) {
        let mut keys = Vec::new();
        self.shared.dataplanes.for_each(|registration| {
            let key = &registration.dataplane.key;
            if after.is_none_or(|after| key > after) && wanted(&registration.dataplane) {
                keys.push(key.clone());
            }
        });
        keys.sort_unstable();
        let more = keys.len() > size;
        keys.truncate(size);
        let next_after = keys.last().filter(|_| more).cloned();
        (keys.iter().filter_map(|key| self.dataplane(key)).collect(), next_after)
    }

    fn dataplane(&self, key: &DataplaneKey) -> Option<DataplaneView> {
        let shard = self.shared.dataplanes.lock(key);
        let registration = shard.get(key)?;
        let dataplane = Arc::clone(&registration.dataplane);
        Some(match &registration.presence {
            Presence::Connected(cell) => DataplaneView {
                dataplane,
                session: Some((cell.id, cell.last_report())),
                healthy: cell.is_healthy(),
                since: cell.since,
            },
            Presence::Lost(loss) => {
                DataplaneView { dataplane, session: None, healthy: false, since: loss.since }
            }
        })
    }
}
