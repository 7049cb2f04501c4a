//! Connections: from an accepted socket to HTTP/2 requests, and what surrounds every
//! call.

mod lifetime;
mod observe;
mod preface;
mod serve;
mod strict;

pub(super) use self::{
    lifetime::{ConnectionAge, Lifetime, UntilEnd, until_end},
    observe::{CallObserver, Observed},
    preface::{plaintext, with_preface},
    serve::serve,
    strict::{RequestRules, check_request},
};
