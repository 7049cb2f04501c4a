//! SPIFFE identities of dataplanes: the rules of Kuma's `MeshIdentity`, without I/O and without keys.
//!
//! ```text
//! MeshIdentity ─► select (by the labels of a dataplane) ─► templates (trust domain, path) ─► SpiffeId
//! ```

mod conditions;
mod mesh_identity;
mod record;
mod select;
mod spiffe_id;
mod template;

pub use self::{
    conditions::Condition,
    mesh_identity::{
        Bundled, CertificateAuthority, DataSource, MeshIdentity, MeshIdentitySpec, Provider, Selector,
    },
    record::{IdentitySet, MeshIdentityRecord},
    select::{Unidentified, select},
    spiffe_id::{SpiffeId, TrustDomain},
    template::{Scope, Template},
};
