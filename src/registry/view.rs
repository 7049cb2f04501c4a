//! What readers see: exact pictures of the registry.

use std::{sync::Arc, time::SystemTime};

use super::{Registry, entries::Entry, members::Place, recent::Recent, session::SessionId, shared::Presence};
use crate::{
    model::{
        Counts, Dataplane, DataplaneKey, Filter, HealthReport, MeshName, Namespace, Workload, WorkloadKey,
    },
    registry::changelog::Look,
};

/// All Workloads at one revision.
#[derive(Debug)]
pub struct Snapshot {
    /// The revision.
    pub revision: u64,
    /// In the order of their keys.
    pub workloads: Vec<Arc<Workload>>,
}

/// Snapshots that are kept, for the next pages of a listing and for readers who
/// come at the same revision: of so many listings at a time.
const KEPT: usize = 4;

/// The snapshots that were made last.
pub(super) type Snapshots = Recent<Arc<Snapshot>, KEPT>;

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
        let look = self.shared.log.look();
        let place = Place::of_workload(key);
        let entry = self.shared.entries.get(&place);
        let seen = entry.and_then(|entry| entry.read(|members| members.current().clone()));
        (look.undo().remove(key).unwrap_or(seen), look.revision())
    }

    /// All Workloads at the newest revision.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot_of(&self.shared.log.look())
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
        let snapshot = match at {
            None => self.snapshot(),
            Some(revision) => {
                let look = self.shared.log.look_back(revision);
                self.snapshot_of(&look.ok_or(PageError { revision })?)
            }
        };
        let start =
            after.map_or(0, |after| snapshot.workloads.partition_point(|workload| workload.key() <= after));
        let mut wanted = snapshot.workloads[start..].iter().filter(|workload| filter.matches(workload));
        let workloads: Vec<_> = wanted.by_ref().take(size).cloned().collect();
        let next_after = wanted.next().and_then(|_| Some(workloads.last()?.key().clone()));
        Ok(Page { workloads, next_after, revision: snapshot.revision })
    }

    /// All Workloads as they were at the revision of a look. Nobody is stopped
    /// meanwhile: what changes is undone.
    fn snapshot_of(&self, look: &Look<'_>) -> Arc<Snapshot> {
        if let Some(known) = self.shared.snapshots.find(|kept| kept.revision == look.revision()) {
            return known;
        }
        let current = |entry: Arc<Entry>| entry.read(|members| members.current().clone());
        let now: Vec<_> = self.shared.entries.all().into_iter().filter_map(current).collect();
        let undo = look.undo();
        let unchanged = now.into_iter().filter(|workload| !undo.contains_key(workload.key()));
        let then = undo.values().flatten().cloned();
        let mut workloads: Vec<_> = unchanged.chain(then).collect();
        workloads.sort_unstable_by(|one, other| one.key().cmp(other.key()));
        let snapshot = Arc::new(Snapshot { revision: look.revision(), workloads });
        self.shared.snapshots.keep(Arc::clone(&snapshot));
        snapshot
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

    /// Another mesh than this one that has registered dataplanes in a namespace: the
    /// first by name, if there are several.
    pub fn other_mesh(&self, namespace: &Namespace, mesh: &MeshName) -> Option<MeshName> {
        let entries = self.shared.entries.all().into_iter();
        let others = entries.filter(|entry| entry.place().namespace == *namespace).filter_map(|entry| {
            entry.read(|members| {
                members.groups().iter().map(|group| &group.mesh).filter(|other| *other != mesh).min().cloned()
            })
        });
        others.min()
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
