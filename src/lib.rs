//! headcount
pub mod agent;
pub mod app;
pub mod changelog;
pub mod cli;
pub mod config;
pub mod events;
pub mod grpc;
pub mod http;
pub mod metrics;
pub mod model;
pub mod proto;
pub mod registry;
pub mod signals;
pub mod simulate;
pub mod telemetry;
pub mod wire;
