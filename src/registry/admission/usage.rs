//! What each client uses, and the limits of that.

use std::collections::{HashMap, hash_map};

use super::{Account, Accounts, ClientResource, LimitReached, Reservation, footprint::PLACES, shares::share};
use crate::{
    model::{Dataplane, MeshName},
    registry::{RegistrySettings, counts::EntryKey},
};

/// How much one client may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientLimits {
    sessions: usize,
    dataplanes: usize,
    bytes: usize,
    workloads: usize,
    watchers: usize,
}

/// What all clients use. A client that uses nothing takes no memory.
#[derive(Debug, Default)]
pub(super) struct Usages(HashMap<Account, Usage>);

/// What one client uses.
#[derive(Debug, Default, PartialEq, Eq)]
struct Usage {
    sessions: usize,
    bytes: usize,
    watchers: usize,
    dataplanes: usize,
    /// The number of its dataplanes of each workload, and of none.
    workloads: HashMap<(MeshName, EntryKey), usize>,
}

impl ClientLimits {
    pub(super) fn new(settings: &RegistrySettings) -> Self {
        let share = |limit| share(limit, settings.max_client_share);
        Self {
            sessions: share(settings.max_sessions),
            dataplanes: share(settings.max_dataplanes),
            bytes: share(settings.max_registered_bytes),
            workloads: settings.max_workloads_per_client,
            watchers: share(settings.max_watchers),
        }
    }

    #[cfg(test)]
    pub(super) fn watchers(self) -> usize {
        self.watchers
    }
}

impl Usages {
    /// The most memory of one account with one workload.
    pub(super) const MEMORY: usize =
        PLACES * (size_of::<(Account, Usage)>() + size_of::<((MeshName, EntryKey), usize)>());

    /// Checks the limits of sessions, dataplanes and workloads of the client.
    pub(super) fn check(&self, limits: &ClientLimits, needed: &Reservation<'_>) -> Result<(), LimitReached> {
        for (account, usage) in self.of(needed.accounts) {
            let replaced = needed.replaces.filter(|older| older.memory.accounts().contains(account));
            let reached = |used, limit| Err(LimitReached::Client { account: account.clone(), used, limit });
            if !replaced.is_some_and(|older| older.connected) && usage.sessions >= limits.sessions {
                return reached(ClientResource::Sessions, limits.sessions);
            }
            if replaced.is_none() && usage.dataplanes >= limits.dataplanes {
                return reached(ClientResource::Dataplanes, limits.dataplanes);
            }
            let left = replaced.map(|older| named(older.memory.dataplane()));
            let leaves = left.is_some_and(|workload| usage.workloads.get(&workload) == Some(&1));
            let joins = !usage.workloads.contains_key(&named(needed.dataplane));
            if joins && !leaves && usage.workloads.len() >= limits.workloads {
                return reached(ClientResource::Workloads, limits.workloads);
            }
        }
        Ok(())
    }

    /// Checks the limit of memory of the client.
    pub(super) fn check_bytes(
        &self,
        limits: &ClientLimits,
        needed: &Reservation<'_>,
    ) -> Result<(), LimitReached> {
        for (account, usage) in self.of(needed.accounts) {
            let replaced = needed.replaces.filter(|older| older.memory.accounts().contains(account));
            let replaced = replaced.map_or(0, |older| older.memory.bytes());
            if (usage.bytes - replaced).saturating_add(needed.bytes) > limits.bytes {
                let (account, limit) = (account.clone(), limits.bytes);
                return Err(LimitReached::Client { account, used: ClientResource::RegisteredBytes, limit });
            }
        }
        Ok(())
    }

    /// Takes a watch stream.
    pub(super) fn watch(&mut self, limits: &ClientLimits, accounts: &Accounts) -> Result<(), LimitReached> {
        if let Some((account, _)) = self.of(accounts).find(|(_, usage)| usage.watchers >= limits.watchers) {
            let (account, limit) = (account.clone(), limits.watchers);
            return Err(LimitReached::Client { account, used: ClientResource::Watchers, limit });
        }
        self.change(accounts, |usage| usage.watchers += 1);
        Ok(())
    }

    pub(super) fn end_watch(&mut self, accounts: &Accounts) {
        self.change(accounts, |usage| usage.watchers -= 1);
    }

    pub(super) fn add_bytes(&mut self, accounts: &Accounts, bytes: usize) {
        self.change(accounts, |usage| usage.bytes += bytes);
    }

    pub(super) fn remove_bytes(&mut self, accounts: &Accounts, bytes: usize) {
        self.change(accounts, |usage| usage.bytes -= bytes);
    }

    pub(super) fn connect(&mut self, accounts: &Accounts) {
        self.change(accounts, |usage| usage.sessions += 1);
    }

    pub(super) fn disconnect(&mut self, accounts: &Accounts) {
        self.change(accounts, |usage| usage.sessions -= 1);
    }

    pub(super) fn register(&mut self, accounts: &Accounts, dataplane: &Dataplane) {
        self.change(accounts, |usage| {
            usage.dataplanes += 1;
            *usage.workloads.entry(named(dataplane)).or_default() += 1;
        });
    }

    pub(super) fn unregister(&mut self, accounts: &Accounts, dataplane: &Dataplane) {
        self.change(accounts, |usage| {
            usage.dataplanes -= 1;
            if let hash_map::Entry::Occupied(mut members) = usage.workloads.entry(named(dataplane)) {
                *members.get_mut() -= 1;
                if *members.get() == 0 {
                    members.remove();
                }
            }
        });
    }

    /// The same accounts, in the memory of those that are charged already.
    pub(super) fn share(&self, accounts: &Accounts) -> Accounts {
        accounts.share(|account| self.0.get_key_value(account).map(|(known, _)| known))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sessions, dataplanes and bytes of all accounts.
    #[cfg(test)]
    pub(super) fn sums(&self) -> [usize; 3] {
        self.0.values().fold([0; 3], |[sessions, dataplanes, bytes], usage| {
            let named: usize = usage.workloads.values().sum();
            assert_eq!(named, usage.dataplanes);
            [sessions + usage.sessions, dataplanes + usage.dataplanes, bytes + usage.bytes]
        })
    }

    /// The sessions, dataplanes, bytes, workloads and watchers of an account.
    #[cfg(test)]
    pub(super) fn amounts(&self, account: &Account) -> [usize; 5] {
        self.0.get(account).map_or([0; 5], |usage| {
            [usage.sessions, usage.dataplanes, usage.bytes, usage.workloads.len(), usage.watchers]
        })
    }

    fn of<'a>(&'a self, accounts: &'a Accounts) -> impl Iterator<Item = (&'a Account, &'a Usage)> {
        accounts.iter().filter_map(|account| Some((account, self.0.get(account)?)))
    }

    fn change(&mut self, accounts: &Accounts, change: impl Fn(&mut Usage)) {
        for account in accounts.iter() {
            let usage = self.0.entry(account.clone()).or_default();
            change(usage);
            if *usage == Usage::default() {
                self.0.remove(account);
            }
        }
    }
}

/// What counts as one workload: a name in a namespace and a mesh, as in the metrics. The dataplanes
/// without a workload count as one more of their namespace and mesh.
fn named(dataplane: &Dataplane) -> (MeshName, EntryKey) {
    (dataplane.key.mesh.clone(), EntryKey::of(dataplane))
}
