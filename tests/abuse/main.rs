//! The real binary under clients that abuse HTTP/2. The server ends or bounds each abuse, and a
//! well-behaved client that is connected meanwhile is hardly affected.
//!
//! ```text
//!   test ──> abusive clients: HTTP/2 by hand ──┐
//!     │                                        ▼
//!     ├────> background client: a proxy ──> headcount serve ──> /proc: its memory, its CPU
//!     │      and a watch that reads
//! ```
//!
//! Every test has the same shape (`harness::survives`): measure the server's memory, run the abuse
//! beside the background client, and then check that the server has not grown by more than the bound,
//! is idle again, and counts exactly the background client's proxy.

#[path = "../http2/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with other tests, which use the rest of it")]
mod http2;
#[path = "../peers/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests with peers use all of it")]
mod support;

mod background_client;
mod harness;
mod process_stats;

mod control;
mod headers;
mod log;
mod preface;
mod registrations;
mod streams;
mod watchers;
mod windows;
