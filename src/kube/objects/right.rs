//! The right of a caller to what it reads.

use crate::{
    access::{Action, Denied, OwnedObject},
    audit::{AuditedCall, AuditedCaller},
    registry::Accounts,
};

/// The right of a caller to what it reads. Every request that a handler of objects gets carries it
/// as an extension.
#[derive(Debug, Clone)]
pub(crate) struct Right {
    pub(crate) caller: AuditedCaller,
    pub(crate) action: Action,
    pub(crate) object: OwnedObject,
}

impl Right {
    /// The accounts that are charged for what the caller uses.
    pub(crate) fn accounts(&self) -> Accounts {
        Accounts::of(Some(self.caller.caller()), self.caller.peer())
    }

    /// The right to a watch, which must end when the right has ended.
    ///
    /// # Errors
    ///
    /// If the right has ended already.
    pub(crate) fn to_watch(&self) -> Result<AuditedCall, Denied> {
        self.caller.allow_live(self.action, self.object.clone())
    }
}
