//! The dataplanes of one workload name as plain data: the rules of counting and of the
//! single mesh. No lock, no clock and no log here.

use std::{
    sync::{Arc, Weak},
    time::SystemTime,
};

use smallvec::SmallVec;

use super::traits::SharedTraits;
use crate::{
    model::{
        Counts, Dataplane, MeshName, Namespace, Workload, WorkloadIdentity, WorkloadKey, WorkloadName,
        WorkloadRecord,
    },
    registry::log::{Draft, Published},
};

/// Names the entry that counts a dataplane: a workload's name in its namespace, or the
/// namespace alone for dataplanes without the label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryKey {
    pub(crate) namespace: Namespace,
    pub(crate) workload: Option<WorkloadName>,
}

impl EntryKey {
    pub(crate) fn of(dataplane: &Dataplane) -> Self {
        Self { namespace: dataplane.key.namespace.clone(), workload: dataplane.workload.clone() }
    }

    pub(crate) fn of_workload(key: &WorkloadKey) -> Self {
        Self { namespace: key.namespace.clone(), workload: Some(key.name.clone()) }
    }

    pub(crate) fn workload_key(&self) -> Option<WorkloadKey> {
        let name = self.workload.clone()?;
        Some(WorkloadKey { namespace: self.namespace.clone(), name })
    }
}

/// By how much the counts of one mesh change. All counts of [`Members`] change by one of
/// these only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CountChange {
    pub(crate) connected: i32,
    pub(crate) healthy: i32,
    pub(crate) total: i32,
}

/// A new dataplane: a registration and a session, and no health until it reports.
const JOIN: CountChange = CountChange { connected: 1, healthy: 0, total: 1 };

/// The dataplanes of one [`EntryKey`], grouped by mesh, and the Workload that readers
/// see.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Members {
    // A health flip touches the first fields only; they share one or two cache lines.
    /// One group unless several meshes use the name. Inline, so that a flip reads no
    /// other memory.
    groups: SmallVec<[Group; 1]>,
    /// The mesh that the Workload belongs to.
    holder: Option<MeshName>,
    /// What readers see.
    current: Published,
    /// The Workload's key; none for dataplanes without the label, which never have one.
    key: Option<WorkloadKey>,
    /// The dataplane that joined last. Weak, because its memory is no longer accounted for
    /// when it has left.
    newest: Weak<Dataplane>,
}

/// The dataplanes of one mesh; never empty.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) mesh: MeshName,
    pub(crate) counts: Counts,
    traits: SharedTraits,
}

impl Members {
    pub(crate) fn new(key: &EntryKey) -> Self {
        Self {
            key: key.workload_key(),
            groups: SmallVec::new(),
            holder: None,
            current: None,
            newest: Weak::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(crate) fn current(&self) -> &Published {
        &self.current
    }

    /// Why dataplanes of `mesh` are not counted in the Workload; none if they are.
    pub(crate) fn conflict(&self, mesh: &MeshName) -> Option<Conflict> {
        if self.groups.len() < 2 || self.holder.as_ref() == Some(mesh) {
            return None;
        }
        let key = self.key.clone()?;
        Some(Conflict { key, holder: self.holder.clone(), meshes: self.groups.len() })
    }

    /// The latest member, whose strings the next one probably shares.
    pub(crate) fn newest(&self) -> Option<Arc<Dataplane>> {
        self.newest.upgrade()
    }

    /// Records that a member has connected again, as this dataplane.
    pub(crate) fn set_newest(&mut self, dataplane: &Arc<Dataplane>) {
        self.newest = Arc::downgrade(dataplane);
    }

    /// Counts a new member with its session. Returns the change that readers see, if
    /// any.
    pub(crate) fn join(&mut self, dataplane: &Arc<Dataplane>, now: SystemTime) -> Option<Draft> {
        let (at, relabelled) = self.add(dataplane);
        self.count(at, JOIN, relabelled, now)
    }

    /// Adds a member to the group of its mesh, without counting it. Returns the group, and
    /// whether the group's traits have changed.
    fn add(&mut self, dataplane: &Arc<Dataplane>) -> (usize, bool) {
        self.set_newest(dataplane);
        let mesh = &dataplane.key.mesh;
        let at = self.groups.iter().position(|group| group.mesh == *mesh).unwrap_or_else(|| {
            let traits = SharedTraits::new(dataplane);
            self.groups.push(Group { mesh: mesh.clone(), counts: Counts::default(), traits });
            self.groups.len() - 1
        });
        (at, self.groups[at].traits.add(dataplane))
    }

    /// Counts a member that was registered before a restart and is not connected.
    /// [`Members::restore_workload`] follows after the last one.
    pub(crate) fn restore(&mut self, dataplane: &Arc<Dataplane>) {
        let (at, _) = self.add(dataplane);
        self.groups[at].counts.total += 1;
    }

    /// Restores the Workload of the restored members. If its mesh has none, the name goes to
    /// another mesh, as usual. Returns the change that readers see, if any.
    pub(crate) fn restore_workload(
        &mut self,
        record: Option<WorkloadRecord>,
        now: SystemTime,
    ) -> Option<Draft> {
        self.holder = record.as_ref().map(|record| record.mesh.clone());
        if let (Some(group), Some(record)) = (self.holder_group(), record) {
            let identity = Arc::new(WorkloadIdentity::restored(record, &group.traits.common()));
            return Some(Draft::upsert(None, Workload::draft(identity, group.counts, now)));
        }
        self.elect_holder();
        self.draft(Update::Object, now)
    }

    /// Counts a member whose dataplane has connected again with another description. `change`
    /// is what the counts change by. Returns the change that readers see, if any.
    ///
    /// # Panics
    ///
    /// If the dataplane is not a member.
    pub(crate) fn rejoin(
        &mut self,
        older: &Dataplane,
        dataplane: &Dataplane,
        change: CountChange,
        now: SystemTime,
    ) -> Option<Draft> {
        let at = self.group_of(dataplane);
        let relabelled = self.groups[at].traits.replace(older, dataplane);
        self.count(at, change, relabelled, now)
    }

    /// Removes a member. `change` is what it contributed to the counts. Returns the change
    /// that readers see, if any.
    ///
    /// # Panics
    ///
    /// If the dataplane is not a member.
    pub(crate) fn leave(
        &mut self,
        member: &Dataplane,
        change: CountChange,
        now: SystemTime,
    ) -> Option<Draft> {
        let at = self.group_of(member);
        let relabelled = self.groups[at].traits.remove(member);
        self.count(at, change, relabelled, now)
    }

    /// Counts a change of a member that stays one. Returns the change that readers see, if
    /// any.
    ///
    /// # Panics
    ///
    /// If the dataplane is not a member.
    pub(crate) fn apply(
        &mut self,
        member: &Dataplane,
        change: CountChange,
        now: SystemTime,
    ) -> Option<Draft> {
        let at = self.group_of(member);
        self.count(at, change, false, now)
    }

    fn group_of(&self, member: &Dataplane) -> usize {
        match self.groups.as_slice() {
            // The dataplane is not read if there is one group only: among a million, it is
            // probably not in the CPU's cache.
            [_] => 0,
            groups => {
                let own = groups.iter().position(|group| group.mesh == member.key.mesh);
                own.expect("a group exists while it has members")
            }
        }
    }

    /// Stores the state that the change log has published for a draft.
    pub(crate) fn set_current(&mut self, published: Option<Published>) {
        if let Some(current) = published {
            self.current = current;
        }
    }

    /// `relabelled` is whether the traits of the group have changed.
    fn count(&mut self, at: usize, change: CountChange, relabelled: bool, now: SystemTime) -> Option<Draft> {
        let group = &mut self.groups[at];
        let counts = &mut group.counts;
        counts.connected = adjusted(counts.connected, change.connected);
        counts.healthy = adjusted(counts.healthy, change.healthy);
        counts.total = adjusted(counts.total, change.total);
        debug_assert!(counts.healthy <= counts.connected && counts.connected <= counts.total, "{counts:?}");
        let of_holder = self.holder.as_ref() == Some(&group.mesh);
        let changes_holder = of_holder && (relabelled || change != CountChange::default());
        if counts.total == 0 {
            self.groups.swap_remove(at);
        }
        if self.elect_holder() {
            self.draft(Update::Object, now)
        } else if changes_holder {
            self.draft(if relabelled { Update::Labels } else { Update::Counts }, now)
        } else {
            None
        }
    }

    /// The holder keeps the name while it has a dataplane. A name without a holder goes
    /// to the mesh that uses it if it is the only one, and to none while several meshes
    /// use it. Returns whether the holder changed.
    fn elect_holder(&mut self) -> bool {
        if self.holder_group().is_some() {
            return false;
        }
        let next = match self.groups.as_slice() {
            [only] => Some(only.mesh.clone()),
            _ => None,
        };
        let changed = self.holder != next;
        self.holder = next;
        changed
    }

    /// The holder's group.
    fn holder_group(&self) -> Option<&Group> {
        self.groups.iter().find(|group| self.holder.as_ref() == Some(&group.mesh))
    }

    /// The Workload as it is now.
    fn draft(&self, update: Update, now: SystemTime) -> Option<Draft> {
        let key = self.key.as_ref()?;
        let Some(group) = self.holder_group() else {
            return self.current.clone().map(Draft::remove);
        };
        let identity = match (&self.current, update) {
            (Some(current), Update::Counts) => Arc::clone(&current.identity),
            (Some(current), Update::Labels) => Arc::new(current.identity.relabelled(&group.traits.common())),
            (None, _) | (_, Update::Object) => {
                let (mesh, traits) = (group.mesh.clone(), group.traits.common());
                Arc::new(WorkloadIdentity::new(key.clone(), mesh, &traits, now))
            }
        };
        let changed_at = match &self.current {
            Some(current) if update == Update::Labels && current.counts == group.counts => {
                current.last_transition_time
            }
            _ => now,
        };
        Some(Draft::upsert(self.current.clone(), Workload::draft(identity, group.counts, changed_at)))
    }
}

/// What of a Workload changes; each kind includes the kinds before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Update {
    Counts,
    Labels,
    /// Another object under the same name, because another mesh holds it.
    Object,
}

/// Why a dataplane is counted in no Workload although it names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) key: WorkloadKey,
    pub(crate) holder: Option<MeshName>,
    pub(crate) meshes: usize,
}

/// The counter can't leave its range: registrations are bounded far below `u32::MAX`,
/// and a member is removed once.
fn adjusted(count: u32, by: i32) -> u32 {
    count.checked_add_signed(by).expect("a member is removed once, and only after it was added")
}

#[cfg(test)]
mod tests;
