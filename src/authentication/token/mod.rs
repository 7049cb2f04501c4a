//! Dataplane tokens and user tokens: signed JSON (JWT) with Kuma's claims.
//!
//! ```text
//!  token ─► jws (header, key id, signature) ─► claims ─► Verifier: key, signature, times,
//!                                                         revocations ─► Verified
//!  Claims ─► issue(key) ─► token
//! ```
//!
//! A key determines the algorithm and what it may sign; the header of a token only selects the
//! key. No error contains the token.

mod claims;
mod error;
mod issue;
mod keys;
mod public_key;
mod signing_key;
mod verify;

pub(super) use self::claims::check_times;
#[cfg(test)]
pub(super) use self::issue::sign;
pub(super) use self::verify::Rejected;
pub use self::{
    claims::{Claims, LIFETIMES, Subject},
    error::TokenError,
    issue::issue,
    keys::{VerificationKey, VerificationKeys},
    public_key::{KeyError, PublicKey},
    signing_key::SigningKey,
    verify::{Revocations, Verified, Verifier, identify},
};
pub use super::jws::MAX_TOKEN_BYTES;

#[cfg(test)]
mod tests;
