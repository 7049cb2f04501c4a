//! What a watcher knows, and what no message may say.

use std::collections::BTreeMap;

use headcount::proto::{WatchWorkloadsResponse, Workload};

use crate::dataplane::{DATAPLANES, Place, WORKLOADS};

/// The numbers of a Workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub connected: u32,
    pub healthy: u32,
    pub total: u32,
}

/// A Workload as a reader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub counts: Counts,
    pub revision: u64,
}

/// Everything that messages said so far.
#[derive(Debug, Clone, Default)]
pub struct Fold {
    pub workloads: BTreeMap<Place, Seen>,
    /// Where to go on; empty if only a snapshot will do.
    pub token: String,
    /// The life of the server that it is about, and the revision it is at.
    synced: Option<(u64, u64)>,
    /// A step is under way and not whole.
    partial: bool,
}

impl Fold {
    /// It is whole up to some revision of this life.
    pub fn is_synced(&self, life: u64) -> bool {
        !self.partial && !self.token.is_empty() && self.synced.is_some_and(|(of, _)| of == life)
    }

    /// The connection ended; what comes next goes on from the token.
    pub fn interrupted(&mut self) {
        self.partial = false;
    }

    /// Takes a message of the server's life; an error is a message that can't be.
    pub fn take(&mut self, life: u64, message: WatchWorkloadsResponse) -> Result<(), String> {
        if message.reset {
            *self = Self { synced: self.synced.filter(|(of, _)| *of == life), ..Self::default() };
        } else if self.synced.is_none_or(|(of, _)| of != life) && !self.partial {
            return Err(format!("life {life} goes on from where nobody was: {:?}", self.synced));
        }
        self.partial = !message.synced;
        let before = self.synced.map_or(0, |(_, revision)| revision);
        for workload in &message.upserted {
            let (place, seen) = seen(workload)?;
            possible(&place, seen.counts)?;
            if let Some(known) = self.workloads.insert(place.clone(), seen)
                && (seen.revision < known.revision
                    || (seen.revision == known.revision && seen.counts != known.counts))
            {
                return Err(format!("{place:?} went from {known:?} back to {seen:?}"));
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
        if let Some((place, seen)) = self.workloads.iter().find(|(_, seen)| seen.revision > message.revision)
        {
            return Err(format!("{place:?} is at {seen:?}, and all is at {}", message.revision));
        }
        self.synced = Some((life, message.revision));
        self.token = message.resume_token;
        all_possible(self.workloads.values().map(|seen| seen.counts))
    }
}

/// A Workload of a message.
pub fn seen(workload: &Workload) -> Result<(Place, Seen), String> {
    let proxies = workload.status.as_ref().and_then(|status| status.dataplane_proxies);
    let proxies = proxies.ok_or_else(|| format!("no numbers in {workload:?}"))?;
    let counts = Counts { connected: proxies.connected, healthy: proxies.healthy, total: proxies.total };
    Ok(((workload.namespace.clone(), workload.name.clone()), Seen { counts, revision: workload.revision }))
}

/// What is true of the numbers of any Workload at any time.
fn possible(place: &Place, counts: Counts) -> Result<(), String> {
    let Counts { connected, healthy, total } = counts;
    // Half of the dataplanes are in each namespace.
    let most = u32::try_from(DATAPLANES.div_ceil(2)).expect("few");
    let named = (0..WORKLOADS).any(|workload| place.1 == format!("workload-{workload}"));
    if named && healthy <= connected && connected <= total && (1..=most).contains(&total) {
        Ok(())
    } else {
        Err(format!("{place:?} can't have {counts:?}"))
    }
}

/// What is true of all Workloads together at one revision: nobody is counted
/// twice, also while moving.
fn all_possible(counts: impl Iterator<Item = Counts>) -> Result<(), String> {
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

    fn step(upserted: &[Workload], revision: u64) -> WatchWorkloadsResponse {
        WatchWorkloadsResponse {
            upserted: upserted.to_vec(),
            synced: true,
            revision,
            resume_token: format!("token-{revision}"),
            ..WatchWorkloadsResponse::default()
        }
    }

    fn snapshot(upserted: &[Workload], revision: u64) -> WatchWorkloadsResponse {
        WatchWorkloadsResponse { reset: true, ..step(upserted, revision) }
    }

    /// One that has a snapshot of life 1, of revision 5.
    fn fold() -> Fold {
        let mut fold = Fold::default();
        fold.take(1, snapshot(&[workload(0, (1, 1, 1), 5)], 5)).unwrap();
        fold
    }

    #[test]
    fn steps_are_folded() {
        let mut fold = fold();
        assert!(fold.is_synced(1) && !fold.is_synced(2));
        fold.take(1, WatchWorkloadsResponse { synced: false, ..step(&[workload(1, (2, 0, 2), 6)], 0) })
            .unwrap();
        assert!(!fold.is_synced(1));
        let gone =
            WorkloadRef { namespace: "default".into(), name: "workload-0".into(), ..Default::default() };
        fold.take(1, WatchWorkloadsResponse { removed: vec![gone], ..step(&[], 7) }).unwrap();
        assert!(fold.is_synced(1));
        assert_eq!(fold.workloads.keys().map(|(_, name)| name).collect::<Vec<_>>(), ["workload-1"]);
        assert_eq!(fold.token, "token-7");
    }

    #[test]
    fn half_a_snapshot_is_not_gone_on_from() {
        let mut fold = fold();
        fold.take(1, WatchWorkloadsResponse { synced: false, ..snapshot(&[], 0) }).unwrap();
        fold.interrupted();
        assert!(fold.token.is_empty() && !fold.is_synced(1));
    }

    #[test]
    fn what_can_not_be_is_an_error() {
        for (counts, why) in [
            ((2, 3, 4), "more healthy than connected"),
            ((3, 2, 2), "more connected than there are"),
            ((0, 0, 0), "a Workload of nobody"),
            ((0, 0, 26), "more than there are in the namespace"),
        ] {
            assert!(fold().take(1, step(&[workload(1, counts, 6)], 6)).is_err(), "{why}");
        }
        assert!(fold().take(1, step(&[workload(99, (1, 1, 1), 6)], 6)).is_err(), "a name of nobody");
        assert!(fold().take(1, step(&[], 4)).is_err(), "back in time");
        assert!(fold().take(1, snapshot(&[], 4)).is_err(), "a snapshot of the past");
        assert!(fold().take(1, step(&[workload(0, (1, 0, 1), 4)], 6)).is_err(), "a Workload back in time");
        assert!(fold().take(1, step(&[workload(0, (1, 0, 1), 5)], 6)).is_err(), "two states of one revision");
        assert!(fold().take(1, step(&[workload(0, (1, 0, 1), 7)], 6)).is_err(), "a Workload of the future");
        assert!(fold().take(2, step(&[], 9)).is_err(), "another life without a reset");
        assert!(Fold::default().take(1, step(&[], 9)).is_err(), "no snapshot at all");
        fold().take(2, snapshot(&[], 1)).expect("another life starts over");
        let twice: Vec<_> = (0..WORKLOADS).map(|name| workload(name, (0, 0, 20), 6)).collect();
        assert!(fold().take(1, step(&twice, 6)).is_err(), "more than there are in all");
    }
}
