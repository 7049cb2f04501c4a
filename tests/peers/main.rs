//! The real binary with real clients, over real sockets.
//!
//! ```text
//!   test ──> support ──> headcount serve ◄── headcount agent ──> application (a thread of the test)
//!     │         │               ▲    ▲
//!     │         ├── grpcurl ────┤    └── prometheus ◄── its HTTP API ── test
//!     │         └── kubectl ────┤
//!     └── generated client ─────┘
//! ```
//!
//! Each test starts its own server on its own loopback address, so tests can run in parallel, and a
//! restarted server can bind the same ports. No test sleeps: it waits, with a deadline, for the output or
//! the exit of a process, or for a watch. When a test fails, it prints the output of its processes.
//!
//! The peer programs are looked up in the directory `HEADCOUNT_PEERS`, which `make test` sets, or else in
//! `PATH`. A test whose peer is missing prints `SKIPPED: ` and the reason; with
//! `HEADCOUNT_REQUIRE_PEERS=1` it fails.

#[path = "../pki/mod.rs"]
mod pki;
mod secured;
mod signals;
mod stopped_server;
mod support;

mod agent_log;
mod alerts;
mod attacks;
mod audit_log;
mod backup;
mod certificate_rotation;
mod cli_help;
mod cli_output;
mod client_certificates;
mod configuration;
mod data_dir;
mod demo;
mod disconnect;
mod documents;
mod drain;
mod duplicates;
mod durable_restart;
mod exit_codes;
mod file_descriptors;
mod flap_interval;
mod grpcurl_calls;
mod grpcurl_reflection;
mod grpcurl_watch;
mod handshakes;
mod http;
mod informer_cut;
mod informers;
mod kubectl_get;
mod kubectl_tokens;
mod kubectl_watch;
mod kubectl_writes;
mod kuma_example;
mod manifests;
mod mesh_conflict;
mod mesh_identities;
mod pod;
mod prometheus;
mod prometheus_tls;
mod restart;
mod revocation;
mod service_accounts;
mod tls;
mod token_commands;
mod tokens;
mod unread_log;
mod unwritable_output;
