//! Authentication: from the credential of a request to its [`Caller`](crate::access::Caller).
//!
//! ```text
//! authorization header ─┬► token/ ──────────────────┐
//!                       └► service_account/ ────────┤
//! client certificate ──► certificate ─► spiffe rule ─┼─► Authenticator ─► Caller
//! none ─────────────────────────────────────────────┘
//! access file ─► policy, spiffe rules, keys
//! ```

mod access_file;
mod authenticator;
mod certificate;
mod json;
mod jws;
mod kube_api;
pub mod service_account;
mod spiffe;
pub mod token;

pub use self::{
    access_file::AccessFile,
    authenticator::{AuthenticationError, Authenticator, RejectedCredential, Trust},
    certificate::{Holder, Subject, UnusableCertificate},
    service_account::{AwaitsKey, ServiceAccountError, ServiceAccounts, Settings as ServiceAccountSettings},
    spiffe::{Fixed, SpiffeRule},
};
