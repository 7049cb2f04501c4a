//! The Kubernetes API behind kube-apiserver: TLS with certificates that change, the front
//! proxy, webhooks for Pods; and clients other than kube-apiserver.

mod access;
mod admission;
#[path = "../http_response/mod.rs"]
#[allow(dead_code, reason = "tests/kube uses the rest of it")]
mod http_response;
mod invalid_reviews;
#[path = "../pki/mod.rs"]
mod pki;
mod silent_connections;
mod support;
mod tls;
