//! The real binary under clients that abuse HTTP/2: each is ended or bounded,
//! and a good client beside them hardly notices.
//!
//! ```text
//!   test ──> abusers: HTTP/2 by hand ──┐
//!     │                                ▼
//!     ├────> witness: a proxy and ──> headcount serve ──> /proc: its memory, its CPU
//!     │      a watch that reads
//! ```
//!
//! Every abuse goes the same way (`stage`): the server is looked at before, the
//! witness works all the while and afterwards, and what the server holds and
//! burns at the end is bounded.

#[path = "../http2/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with other tests, which use the rest of it")]
mod http2;
#[path = "../peers/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests with peers use all of it")]
mod support;

mod figures;
mod stage;
mod witness;

mod control;
mod headers;
mod log;
mod preface;
mod streams;
mod watchers;
mod windows;
