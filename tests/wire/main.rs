//! The server as its clients see it: every test starts one and talks to it over
//! real loopback sockets, with the generated clients or, where a client would
//! not do it, with raw bytes.
//!
//! Nothing here sleeps. What must happen is waited for, ten seconds at most.
//! That nothing was sent is shown by causing a later change and asserting that
//! it comes next.

// Nothing outside can name what a test crate has.
#![allow(unreachable_pub)]

mod fold;
mod proxy;
mod raw;
mod support;

mod bad_bytes;
mod bad_connection;
mod bad_hello;
mod bad_order;
mod bad_report;
mod bad_token;
mod drain;
mod envoy;
mod events;
mod health;
mod http;
mod keepalive;
mod limits;
mod listing;
mod managed;
mod metrics;
mod resume;
mod session;
mod slow_watch;
mod storm;
mod takeover;
mod wait;
mod watch;
