//! The caller of a request: its principal, and the credential that proves it.

use std::{sync::Arc, time::SystemTime};

use super::{Action, Credential, Denied, LiveCall, Object, OwnedObject, Policy, allow, live::LiveCalls};
use crate::{
    model::{AnonymousAccess, Principal},
    runtime::sync::Mutex,
};

/// The present policy, and the calls that depend on it.
#[derive(Debug, Clone)]
pub struct Access(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    policy: Mutex<Arc<Policy>>,
    live: LiveCalls,
}

/// The caller of a request. Every request carries it as an extension.
#[derive(Debug, Clone)]
pub struct Caller {
    access: Access,
    identity: Arc<Identity>,
}

#[derive(Debug)]
pub(super) struct Identity {
    pub(super) principal: Principal,
    pub(super) credential: Option<Credential>,
}

impl Access {
    /// Starts with a policy. `clock` is the time of day, by which credentials end.
    pub fn new(policy: Policy, clock: fn() -> SystemTime) -> Self {
        Self(Arc::new(Shared { policy: Mutex::new(Arc::new(policy)), live: LiveCalls::new(clock) }))
    }

    /// Replaces the policy. [`Access::run`] ends the live calls that it no longer allows.
    pub fn set_policy(&self, policy: Policy) {
        *self.0.policy.lock() = Arc::new(policy);
        self.recheck();
    }

    /// Checks all live calls again: keys, revocations or authorities have changed.
    pub fn recheck(&self) {
        self.0.live.recheck();
    }

    /// Ends live calls whose right has ended. Never returns.
    pub async fn run(&self) {
        self.0.live.run(|| self.policy()).await;
    }

    /// A caller with a credential.
    pub fn caller(&self, principal: Principal, credential: Credential) -> Caller {
        self.with(principal, Some(credential))
    }

    /// A caller without one. Listeners make it once, and clone it for each request.
    pub fn anonymous(&self, access: AnonymousAccess) -> Caller {
        self.with(Principal::Anonymous(access), None)
    }

    fn with(&self, principal: Principal, credential: Option<Credential>) -> Caller {
        Caller { access: self.clone(), identity: Arc::new(Identity { principal, credential }) }
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.0.policy.lock())
    }
}

impl Caller {
    /// The principal.
    pub fn principal(&self) -> &Principal {
        &self.identity.principal
    }

    /// The credential; none of an anonymous caller.
    pub fn credential(&self) -> Option<&Credential> {
        self.identity.credential.as_ref()
    }

    /// Decides by the present policy whether the caller may do an action to an object.
    ///
    /// # Errors
    ///
    /// As [`allow()`].
    pub fn allow(&self, action: Action, object: Object<'_>) -> Result<(), Denied> {
        if let Principal::Anonymous(AnonymousAccess::Full) = self.identity.principal {
            return Ok(());
        }
        allow(&self.access.policy(), &self.identity.principal, action, object)
    }

    /// Begins a call that lasts and that [`Caller::allow`] has allowed: it must end when
    /// [`LiveCall::ended`] resolves.
    pub fn track(&self, action: Action, object: OwnedObject) -> LiveCall {
        let Some(_) = self.credential() else {
            return LiveCall::endless();
        };
        let identity = Arc::clone(&self.identity);
        self.access.0.live.track(identity, action, object, || self.access.policy())
    }
}
