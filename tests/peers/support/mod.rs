//! Helpers of the tests that start processes: the programs, and ways to wait for them.

mod application;
mod dataplane;
mod grpcurl;
mod http;
mod issuer;
mod kubectl;
mod kubelet;
mod manifests;
mod peer;
mod program;
mod proxy;
mod server;
mod site;
mod tls_client;
mod watch;

use std::time::Duration;

pub(crate) use application::Application;
pub(crate) use dataplane::{gateway, replace, service};
pub(crate) use grpcurl::Grpcurl;
pub(crate) use http::get;
pub(crate) use issuer::Issuer;
pub(crate) use kubectl::Kubectl;
pub(crate) use kubelet::{Provided, container, run_sidecar, variable};
pub(crate) use manifests::{copy_manifests, parse_objects, pod_of, script, token_source};
pub(crate) use peer::peer;
pub(crate) use program::{Ended, Program, headcount, wrap};
pub(crate) use proxy::{Proxy, dataplane, hello, ready};
pub(crate) use rustix::process::Signal;
pub(crate) use server::Server;
pub(crate) use site::Site;
pub(crate) use tls_client::TlsClient;
pub(crate) use watch::{Counts, Watch};

/// Deadline of everything that a test waits for: twice the longest wait on an otherwise idle machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Calls `poll` until it returns a value, for conditions that send no notification.
pub(crate) async fn retry<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    const PAUSE: Duration = Duration::from_millis(20);
    let value = tokio::time::timeout(DEADLINE, async {
        loop {
            if let Some(value) = poll().await {
                return value;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    value.await.unwrap_or_else(|_| panic!("timed out after {DEADLINE:?}, waiting for: {what}"))
}
