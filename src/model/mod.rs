//! The domain model: types that are valid by construction. Input is parsed into them once, where
//! it enters; code that has a [`WorkloadName`] need not check it again.

mod address;
mod attempt;
mod dataplane;
mod field_selector;
mod filter;
mod health;
mod label;
mod name;
mod placeholder;
mod principal;
mod record;
mod resource;
mod selector;
mod shared;
mod token;
mod workload;

pub(crate) use address::check_address;
pub use attempt::Attempt;
pub(crate) use dataplane::shared_allocation;
pub use dataplane::{
    Dataplane, DataplaneKey, DataplaneLimits, DataplaneSpec, Environment, Inbound, InboundSpec,
    MAX_AGENT_VERSION,
};
pub use field_selector::FieldSelector;
pub(crate) use filter::fnv1a;
pub use filter::{ExactName, Filter, NAME_FIELD, NAMESPACE_FIELD};
pub use health::{Health, HealthReport, HealthState};
pub(crate) use label::entry;
pub use label::{
    DISPLAY_NAME_LABEL, ENVIRONMENT_LABEL, LabelKey, Labels, MANAGED_BY_LABEL, MESH_LABEL, NAMESPACE_LABEL,
    ORIGIN_LABEL, SERVICE_ACCOUNT_LABEL, WORKLOAD_LABEL, ZONE_LABEL,
};
pub(crate) use name::Quoted;
pub use name::{
    ApiGroup, DEFAULT_MESH, DEFAULT_NAMESPACE, DataplaneName, MeshName, Namespace, ResourceName,
    WorkloadName, ZoneName,
};
pub(crate) use placeholder::{placeholder, unfilled};
pub use principal::{AnonymousAccess, DataplaneGrant, GrantMismatch, Principal, Proof, User};
pub use record::{Records, RegistrationRecord, WorkloadRecord};
pub use resource::ResourceKey;
pub use selector::{LabelSelector, MAX_SELECTOR_BYTES};
pub use token::{KeyAlgorithm, KeyId, KeyUse, PrivateKey, Revocation, SigningKeyRecord, TokenId};
pub use workload::{Counts, MANAGED, Workload, WorkloadIdentity, WorkloadKey, WorkloadTraits};

/// An invalid input value: its field, the value, the rule and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Path of the field, such as `dataplane.inbounds[2].port`.
    pub field: String,
    /// The invalid value, the rule, and the remedy.
    pub problem: String,
}

impl Invalid {
    /// Creates an error about one field.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// Prefixes the field with the path of its parent.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        Self { field: format!("{parent}.{}", self.field), problem: self.problem }
    }
}
