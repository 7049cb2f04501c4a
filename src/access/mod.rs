//! Authorization: which principal may do what.
//!
//! Every service asks [`allow()`], a pure function of the policy, the principal, the action and its
//! object. No service has a rule of its own. `docs/access.md` is the table of all cells, and a
//! test compares it with this module.

mod action;
mod allow;
mod caller;
mod credential;
mod live;
mod policy;
mod refusal;

pub use self::{
    action::{Action, Object, OwnedObject},
    allow::{Denied, allow},
    caller::{Access, Caller},
    credential::{Credential, CredentialId, Recheck},
    live::{Ended, LiveCall},
    policy::{Policy, Role, RoleBinding},
    refusal::RefusalReason,
};

#[cfg(test)]
pub(crate) use self::allow::DECISIONS;

#[cfg(test)]
pub(crate) mod tests;
