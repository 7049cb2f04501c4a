//! The address of the Kubernetes API as kube-apiserver uses it: TLS whose
//! certificates change, itself in front of its users, webhooks for Pods; and what
//! others try there.

mod access;
mod admission;
#[path = "../http_response/mod.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest of it")]
mod http_response;
mod invalid_reviews;
#[path = "../pki/mod.rs"]
mod pki;
mod support;
mod tls;
