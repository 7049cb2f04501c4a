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
