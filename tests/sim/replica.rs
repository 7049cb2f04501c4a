//! A watcher's copy of the Workloads, and the invariants that each message of a watch must keep.

use std::collections::BTreeMap;

use headcount::proto::{WatchWorkloadsResponse, Workload};
use uuid::Uuid;

use crate::dataplane::{DATAPLANES, WORKLOADS, WorkloadKey};

/// The counts of a Workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub connected: u32,
    pub healthy: u32,
    pub total: u32,
}

/// What a replica holds of a Workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkloadState {
    pub counts: Counts,
    pub revision: u64,
    /// 0 if it has none.
    pub uid: u128,
}

/// The state that a watcher has built from the messages of its watches.
#[derive(Debug, Clone, Default)]
pub struct Replica {
    pub workloads: BTreeMap<WorkloadKey, WorkloadState>,
    /// Resumes the watch; empty if the next watch must begin with a snapshot.
    pub resume_token: String,
    /// Server incarnation and revision of the last complete batch.
    synced: Option<(u64, u64)>,
    /// Messages of a batch have been applied, but not its last one.
    partial: bool,
    /// Revisions grow over restarts of the server too.
    durable: bool,
}

impl Replica {
    /// An empty one.
    pub fn new(durable: bool) -> Self {
        Self { durable, ..Self::default() }
    }

    /// Whether it has the Workloads of one revision, not only a part of them.
    pub fn is_complete(&self) -> bool {
        !self.partial && !self.resume_token.is_empty()
    }

    /// Whether it is complete up to some revision of this server incarnation.
    pub fn is_synced(&self, incarnation: u64) -> bool {
        !self.partial && !self.resume_token.is_empty() && self.synced.is_some_and(|(of, _)| of == incarnation)
    }

    /// The watch has ended; the next one begins at the resume token.
    pub fn interrupted(&mut self) {
        self.partial = false;
    }

    /// Applies a message of this server incarnation, or returns the invariant that it breaks.
    pub fn apply(&mut self, incarnation: u64, message: WatchWorkloadsResponse) -> Result<(), String> {
        if message.reset {
            let durable = self.durable;
            *self = Self {
                synced: self.synced.filter(|(of, _)| durable || *of == incarnation),
                ..Self::new(durable)
            };
        } else if self.synced.is_none_or(|(of, _)| of != incarnation) && !self.partial {
            return Err(format!(
                "a delta of incarnation {incarnation} without a snapshot: {:?}",
                self.synced
            ));
        }
        self.partial = !message.synced;
        let before = self.synced.map_or(0, |(_, revision)| revision);
        for workload in &message.upserted {
            let (key, state) = parse(workload)?;
            check_counts(&key, state.counts)?;
            if let Some(known) = self.workloads.insert(key.clone(), state)
                && (state.revision < known.revision
                    || (state.revision == known.revision && state.counts != known.counts))
            {
                return Err(format!("{key:?} went back from {known:?} to {state:?}"));
            }
        }
        for removed in message.removed {
            self.workloads.remove(&(removed.namespace, removed.name));
        }
        if !message.synced {
            return Ok(());
        }
        if message.revision < before {
            return Err(format!("revision {before} was followed by {}", message.revision));
        }
        if let Some((key, state)) = self.workloads.iter().find(|(_, state)| state.revision > message.revision)
        {
            return Err(format!("{key:?} is at {state:?}, beyond the batch's revision {}", message.revision));
        }
        self.synced = Some((incarnation, message.revision));
        self.resume_token = message.resume_token;
        check_total(self.workloads.values().map(|state| state.counts))
    }
}

/// Reads a Workload of a message.
pub fn parse(workload: &Workload) -> Result<(WorkloadKey, WorkloadState), String> {
    let proxies = workload.status.as_ref().and_then(|status| status.dataplane_proxies);
    let proxies = proxies.ok_or_else(|| format!("no counts in {workload:?}"))?;
    let counts = Counts { connected: proxies.connected, healthy: proxies.healthy, total: proxies.total };
    let key = (workload.namespace.clone(), workload.name.clone());
    let uid = Uuid::parse_str(&workload.uid).unwrap_or_default().as_u128();
    Ok((key, WorkloadState { counts, revision: workload.revision, uid }))
}

/// What holds for the counts of any Workload at any time.
fn check_counts(key: &WorkloadKey, counts: Counts) -> Result<(), String> {
    let Counts { connected, healthy, total } = counts;
    // Half of the dataplanes are in each namespace.
    let most = u32::try_from(DATAPLANES.div_ceil(2)).expect("few");
    let exists = (0..WORKLOADS).any(|workload| key.1 == format!("workload-{workload}"));
    if exists && healthy <= connected && connected <= total && (1..=most).contains(&total) {
        Ok(())
    } else {
        Err(format!("impossible counts of {key:?}: {counts:?}"))
    }
}

/// What holds for the sum of all Workloads at one revision: no dataplane is counted twice, not even
/// while it moves.
fn check_total(counts: impl Iterator<Item = Counts>) -> Result<(), String> {
    let total: u32 = counts.map(|counts| counts.total).sum();
    if total as usize <= DATAPLANES {
        Ok(())
    } else {
        Err(format!("{total} dataplanes are counted, and there are {DATAPLANES}"))
    }
}

#[cfg(test)]
mod tests {
    use headcount::proto::{DataplaneProxies, WorkloadRef, WorkloadStatus};

    use super::*;

    fn workload(name: usize, (connected, healthy, total): (u32, u32, u32), revision: u64) -> Workload {
        let dataplane_proxies = Some(DataplaneProxies { connected, healthy, total });
        Workload {
            namespace: "default".into(),
            name: format!("workload-{name}"),
            revision,
            status: Some(WorkloadStatus { dataplane_proxies, ..WorkloadStatus::default() }),
            ..Workload::default()
        }
    }

    fn batch(upserted: &[Workload], revision: u64) -> WatchWorkloadsResponse {
        WatchWorkloadsResponse {
            upserted: upserted.to_vec(),
            synced: true,
            revision,
            resume_token: format!("token-{revision}"),
            ..WatchWorkloadsResponse::default()
        }
    }

    fn snapshot(upserted: &[Workload], revision: u64) -> WatchWorkloadsResponse {
        WatchWorkloadsResponse { reset: true, ..batch(upserted, revision) }
    }

    /// A replica with a snapshot of incarnation 1 at revision 5.
    fn replica() -> Replica {
        let mut replica = Replica::default();
        replica.apply(1, snapshot(&[workload(0, (1, 1, 1), 5)], 5)).unwrap();
        replica
    }

    #[test]
    fn batches_are_applied() {
        let mut replica = replica();
        assert!(replica.is_synced(1) && !replica.is_synced(2));
        replica
            .apply(1, WatchWorkloadsResponse { synced: false, ..batch(&[workload(1, (2, 0, 2), 6)], 0) })
            .unwrap();
        assert!(!replica.is_synced(1));
        let gone =
            WorkloadRef { namespace: "default".into(), name: "workload-0".into(), ..Default::default() };
        replica.apply(1, WatchWorkloadsResponse { removed: vec![gone], ..batch(&[], 7) }).unwrap();
        assert!(replica.is_synced(1));
        assert_eq!(replica.workloads.keys().map(|(_, name)| name).collect::<Vec<_>>(), ["workload-1"]);
        assert_eq!(replica.resume_token, "token-7");
    }

    #[test]
    fn a_partial_snapshot_is_not_resumed() {
        let mut replica = replica();
        replica.apply(1, WatchWorkloadsResponse { synced: false, ..snapshot(&[], 0) }).unwrap();
        replica.interrupted();
        assert!(replica.resume_token.is_empty() && !replica.is_synced(1));
    }

    #[test]
    fn a_message_that_breaks_an_invariant_is_an_error() {
        for (counts, broken) in [
            ((2, 3, 4), "more healthy than connected"),
            ((3, 2, 2), "more connected than in total"),
            ((0, 0, 0), "a Workload without dataplanes"),
            ((0, 0, 26), "more dataplanes than the namespace has"),
        ] {
            assert!(replica().apply(1, batch(&[workload(1, counts, 6)], 6)).is_err(), "{broken}");
        }
        assert!(
            replica().apply(1, batch(&[workload(99, (1, 1, 1), 6)], 6)).is_err(),
            "a name that no agent uses"
        );
        assert!(replica().apply(1, batch(&[], 4)).is_err(), "a batch of an earlier revision");
        assert!(replica().apply(1, snapshot(&[], 4)).is_err(), "a snapshot of an earlier revision");
        assert!(
            replica().apply(1, batch(&[workload(0, (1, 0, 1), 4)], 6)).is_err(),
            "a Workload at an earlier revision"
        );
        assert!(
            replica().apply(1, batch(&[workload(0, (1, 0, 1), 5)], 6)).is_err(),
            "two states of a Workload at one revision"
        );
        assert!(
            replica().apply(1, batch(&[workload(0, (1, 0, 1), 7)], 6)).is_err(),
            "a Workload beyond its batch"
        );
        assert!(replica().apply(2, batch(&[], 9)).is_err(), "another incarnation without a reset");
        assert!(Replica::default().apply(1, batch(&[], 9)).is_err(), "a delta before any snapshot");
        replica().apply(2, snapshot(&[], 1)).expect("another incarnation starts over");
        let mut durable = Replica { durable: true, ..replica() };
        assert!(durable.apply(2, snapshot(&[], 4)).is_err(), "a durable server that went back");
        let twice: Vec<_> = (0..WORKLOADS).map(|name| workload(name, (0, 0, 20), 6)).collect();
        assert!(replica().apply(1, batch(&twice, 6)).is_err(), "more dataplanes than exist");
    }
}
