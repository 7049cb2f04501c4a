//! Connections: from an accepted socket to HTTP/2 requests, and what surrounds every
//! call.

mod observe;
mod preface;
mod serve;
mod shutdown;

pub(super) use self::{
    observe::{CallObserver, Observed},
    preface::with_preface,
    serve::serve,
    shutdown::{UntilShutdown, until_shutdown},
};
