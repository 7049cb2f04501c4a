//! TLS: with what a server proves who it is, and what its clients show.
//!
//! ```text
//! files ─► pem ─► certified key ─► Current ─► Tls: (connection) ─► (stream, Shown)
//!            └──► authority ─────► Current ─────────────► verify(Shown) ─► common name
//!                                    ▲
//!                          Reloading, while it is served
//! ```
//!
//! Clients are asked for a certificate and need not have one. Who issued what they
//! show is looked at for each request that needs it, so that a refusal can be said
//! in HTTP's words, and an authority that was replaced is believed no longer.

mod authority;
mod certified;
mod pem;
mod reload;
mod serve;

pub(crate) use self::{
    authority::{Authority, Unverified, authority},
    certified::certified_key,
    pem::PemFile,
    reload::{Current, Reloading},
    serve::{Shown, Tls},
};

#[cfg(test)]
#[path = "../../../tests/pki/mod.rs"]
mod pki;
