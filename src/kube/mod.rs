//! The Kubernetes API: Workloads and events for kubectl and other clients of Kubernetes' API,
//! and admission webhooks for Pods. Read-only; all state is in the registry.
//!
//! ```text
//! server     connections, TLS ─► middleware (access, metrics) ─► routes
//!               │                        │                          │
//! handlers     api (discovery, OpenAPI, version, health)    objects (workloads, events)    admission
//!                        │                                          │                          │
//! protocol     query, path, content negotiation, response, status   ▼                          ▼
//!                                                                registry                  registry
//! ```

mod admission;
mod api;
mod objects;
mod protocol;
mod server;

pub use self::server::Kube;
