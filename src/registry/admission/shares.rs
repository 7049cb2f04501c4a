//! What each client may use of something that the registry does not manage itself.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{Account, Accounts, ClientResource, LimitReached};
use crate::runtime::sync::Mutex;

/// The share of `limit` that one client may use, at least 1.
pub(super) fn share(limit: usize, percent: usize) -> usize {
    // Divided first, because the product may not fit.
    (limit / 100 * percent + limit % 100 * percent / 100).max(1)
}

/// What each client uses of one resource. Clones share it.
#[derive(Debug, Clone)]
pub struct ClientShares {
    resource: ClientResource,
    /// The most that one client may use.
    limit: usize,
    used: Arc<Mutex<HashMap<Account, usize>>>,
}

/// A use of the resource by a client, until it is dropped.
#[derive(Debug)]
pub struct SharePermit {
    shares: ClientShares,
    accounts: Accounts,
}

impl ClientShares {
    pub(in crate::registry) fn new(resource: ClientResource, total: usize, percent: usize) -> Self {
        Self { resource, limit: share(total, percent), used: Arc::default() }
    }

    /// Charges a use to the accounts of a client.
    ///
    /// # Errors
    ///
    /// If one of them has reached the limit.
    pub fn take(&self, accounts: Accounts) -> Result<SharePermit, LimitReached> {
        let mut used = self.used.lock();
        if let Some(account) = accounts.iter().find(|own| used.get(own).is_some_and(|n| *n >= self.limit)) {
            let account = account.clone();
            return Err(LimitReached::Client { account, used: self.resource, limit: self.limit });
        }
        for account in accounts.iter() {
            *used.entry(account.clone()).or_default() += 1;
        }
        drop(used);
        Ok(SharePermit { shares: self.clone(), accounts })
    }
}

impl Drop for SharePermit {
    fn drop(&mut self) {
        let mut used = self.shares.used.lock();
        for account in self.accounts.iter() {
            if let Entry::Occupied(mut own) = used.entry(account.clone()) {
                *own.get_mut() -= 1;
                if *own.get() == 0 {
                    own.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_uses_its_share_of_each_account_and_gives_it_back() {
        let shares = ClientShares::new(ClientResource::KubeWatches, 5, 50);
        let [alice, bob] = ["alice", "bob"].map(|user| Accounts::named(&[user, "address 10.0.0.1"]));
        let first = shares.take(alice.clone()).unwrap();
        let _second = shares.take(bob.clone()).unwrap();
        let reached = shares.take(alice.clone()).unwrap_err();
        let text = "address 10.0.0.1 may have 2 watches of the Kubernetes API, the most this server allows one \
                    client (max-client-share of max-kube-connections)";
        assert_eq!((reached.to_string().as_str(), reached.setting()), (text, "max-client-share"));
        drop(first);
        drop(shares.take(alice).unwrap());
        let _elsewhere = shares.take(Accounts::named(&["bob"])).unwrap();
        assert!(shares.take(Accounts::named(&["bob"])).is_err());
        assert_eq!(shares.used.lock().len(), 2);
        assert!(shares.take(Accounts::default()).is_ok(), "a client without accounts is not limited");
    }

    #[test]
    fn the_share_of_a_large_limit_does_not_overflow() {
        assert_eq!([share(896, 50), share(1, 1), share(usize::MAX, 100)], [448, 1, usize::MAX]);
    }
}
