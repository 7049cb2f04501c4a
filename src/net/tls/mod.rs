//! TLS: the server's certificate, the certificates that clients present, and the client's side.
//!
//! ```text
//! files ─► pem ─► certified key ─► Current ─► Tls: (connection) ─► (stream, PresentedCertificates)
//!            └──► authority ─────► Current ─► verify(PresentedCertificates) ─► common name
//!                                    ▲
//!                          Reloading, while the server runs
//!
//! files ─► pem ─► ClientTls: (connection) ─► stream, or explain: what is wrong, and the remedy
//! ```
//!
//! The TLS handshake requests a client certificate but does not require or verify one. Each
//! request that needs a verified client calls [`Authority::verify`], so that the client gets
//! an HTTP error rather than a TLS alert, and a replaced authority takes effect on open
//! connections.

mod authority;
mod certified;
mod connect;
mod explain;
mod failure;
mod listener;
mod pem;
mod reload;
mod serve;
mod verified_chain;

pub(crate) use self::{
    authority::{Authority, Unverified, authority},
    certified::certified_key,
    connect::{ClientTls, client_certificate},
    failure::{HandshakeFailure, begins_tls},
    listener::TlsListener,
    pem::PemFile,
    reload::{Current, Reloading},
    serve::{ClientCertificates, PresentedCertificates, Protocol, Tls},
};

#[cfg(test)]
#[path = "../../../tests/pki/mod.rs"]
pub(crate) mod pki;
