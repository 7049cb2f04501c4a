//! Accounts: to whom the registry charges what a client uses.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::usage::Usages;
use crate::{
    access::Caller,
    model::{Principal, Proof, shared_allocation},
    net::client_address::client_address,
};

/// A principal or an address, as a text for operators.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(Arc<str>);

/// The accounts of one client: of its principal, if it has a credential, and of its address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts([Option<Account>; 2]);

impl Accounts {
    /// The accounts of a client.
    ///
    /// The loopback addresses have none, because all clients of this machine have them, nor has
    /// kube-apiserver, which sends the requests of all users of the cluster.
    pub fn of(caller: Option<&Caller>, peer: Option<SocketAddr>) -> Self {
        let shared = caller.is_some_and(|caller| matches!(caller.principal(), Principal::ClusterUser(_)));
        let address = peer.map(|peer| client_address(peer.ip())).filter(|ip| !shared && !ip.is_loopback());
        Self([caller.and_then(Account::of_principal), address.map(Account::of_address)])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Account> {
        self.0.iter().flatten()
    }

    /// The most memory that the accounts take for one registration, as if it shared nothing.
    pub(crate) fn memory(&self) -> usize {
        self.iter().map(|account| shared_allocation(account.0.len()) + Usages::MEMORY).sum()
    }

    pub(super) fn contains(&self, account: &Account) -> bool {
        self.iter().any(|own| own == account)
    }

    /// Replaces each account by the one that `find` returns for it, which is equal.
    pub(super) fn share<'a>(&self, find: impl Fn(&Account) -> Option<&'a Account>) -> Self {
        Self(self.0.each_ref().map(|own| own.as_ref().map(|own| find(own).unwrap_or(own).clone())))
    }
}

impl Account {
    /// A token has an account of its own, because many may have the same rights. Certificates that
    /// prove the same are those of one client, which replaces them every few hours.
    fn of_principal(caller: &Caller) -> Option<Self> {
        let credential = caller.credential()?;
        let text = match caller.principal() {
            Principal::Dataplane(grant) if grant.proof == Proof::Token => credential.id.to_string(),
            principal => principal.to_string(),
        };
        Some(Self(text.into()))
    }

    fn of_address(address: IpAddr) -> Self {
        let network = if address.is_ipv6() { "/64" } else { "" };
        Self(format!("address {address}{network}").into())
    }

    #[cfg(test)]
    pub(crate) fn named(text: &str) -> Self {
        Self(text.into())
    }
}

#[cfg(test)]
impl Accounts {
    pub(crate) fn named(accounts: &[&str]) -> Self {
        let mut accounts = accounts.iter().map(|text| Account::named(text));
        Self([accounts.next(), accounts.next()])
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{Access, Credential, CredentialId, Policy},
        model::{DataplaneGrant, TokenId, User},
    };

    fn accounts(principal: Principal, peer: &str) -> Vec<String> {
        let access = Access::new(Policy::default(), std::time::SystemTime::now);
        let id = CredentialId::Token(TokenId::parse("id", "17").unwrap());
        let credential = Credential { id, expires: None, recheck: Arc::new(|| Ok(())) };
        let caller = access.caller(principal, credential);
        Accounts::of(Some(&caller), peer.parse().ok()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_client_has_the_accounts_of_its_principal_and_its_address() {
        let dataplane = |proof| Principal::Dataplane(DataplaneGrant::unrestricted(proof));
        let alice = User { name: "alice".into(), groups: vec![] };
        for (principal, peer, expected) in [
            (dataplane(Proof::Token), "10.0.0.1:80", vec!["token 17", "address 10.0.0.1"]),
            (dataplane(Proof::Token), "127.0.0.1:80", vec!["token 17"]),
            (dataplane(Proof::Token), "[::1]:80", vec!["token 17"]),
            (dataplane(Proof::Certificate), "", vec!["dataplane */*/*"]),
            (
                Principal::User(alice.clone()),
                "[2001:db8::1]:1",
                vec!["user \"alice\"", "address 2001:db8::/64"],
            ),
            (Principal::ClusterUser(alice), "10.0.0.1:80", vec!["user \"alice\""]),
        ] {
            assert_eq!(accounts(principal, peer), expected, "{peer}");
        }
        let anonymous = Accounts::of(None, "10.0.0.1:80".parse().ok());
        assert_eq!(anonymous.iter().map(ToString::to_string).collect::<Vec<_>>(), ["address 10.0.0.1"]);
    }
}
