//! Kubernetes `ServiceAccount` tokens of Pods.
//!
//! ```text
//! access file ─► Settings ─► fetch: keys of the cluster (file, or kube-apiserver) ─► Cluster
//! token ─► jws ─► Cluster: issuer, key, times, audience, Pod ─► DataplaneGrant
//! ```
//!
//! A Pod may register only the dataplane that has the Pod's name and namespace. The keys are
//! fetched again when a token names an unknown one, and the call waits for that. kube-apiserver
//! reviews the tokens of live calls in the background.

mod claims;
mod cluster;
mod error;
mod jwks;
mod refresh;
mod reviews;
mod settings;
mod waiting;

pub(super) use self::claims::Claims;
pub(super) use self::settings::Document;
pub use self::{
    cluster::{Cluster, Rules, Verified},
    error::ServiceAccountError,
    jwks::{Keys, parse as parse_keys},
    refresh::ServiceAccounts,
    settings::Settings,
    waiting::AwaitsKey,
};

#[cfg(test)]
mod tests;
