//! Authentication: from the credential of a request to its [`Caller`](crate::access::Caller).
//!
//! ```text
//! authorization header ─► token/ ───────────────────┐
//! client certificate ──► certificate ─► spiffe rule ─┼─► Authenticator ─► Caller
//! none ─────────────────────────────────────────────┘
//! access file ─► policy, spiffe rules
//! ```

mod access_file;
mod authenticator;
mod certificate;
mod json;
mod jws;
mod spiffe;
pub mod token;

pub use self::{
    access_file::AccessFile,
    authenticator::{AuthenticationError, Authenticator, Trust},
    certificate::UnusableCertificate,
    spiffe::{Fixed, SpiffeRule},
};
