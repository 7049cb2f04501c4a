//! The gRPC API as clients see it. Every test starts a server in this process and calls it over
//! loopback sockets, with the generated clients, or with raw bytes for requests that those cannot
//! send.
//!
//! No test sleeps to let something happen: it waits for the event, ten seconds at most. To prove that
//! nothing was sent, a test causes a later change and asserts that it arrives next.

// A test crate exports nothing, so `pub` here means `pub(crate)`.
#![allow(unreachable_pub)]

mod proxy;
mod raw;
mod support;
mod watcher;

mod connection_limits;
mod drain;
mod envoy;
mod events;
mod health;
mod heartbeat;
mod http;
mod invalid_hello;
mod invalid_report;
mod invalid_tokens;
mod keepalive;
mod limits;
mod listing;
mod malformed_connections;
mod malformed_messages;
mod message_order;
mod metrics;
mod read_only;
mod resume;
mod session;
mod slow_watcher;
mod strictness;
mod takeover;
mod throttling;
mod wait;
mod watch;
mod watch_keepalive;
