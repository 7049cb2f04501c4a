//! What tests have in common: processes to start, and ways to wait for them.

mod application;
mod dataplane;
mod grpcurl;
mod http;
mod kubectl;
mod kubelet;
mod manifests;
mod peer;
mod program;
mod proxy;
mod server;
mod site;
mod watch;

use std::time::Duration;

pub(crate) use application::Application;
pub(crate) use dataplane::{gateway, service, swap};
pub(crate) use grpcurl::Grpcurl;
pub(crate) use http::get;
pub(crate) use kubectl::Kubectl;
pub(crate) use kubelet::run_sidecar;
pub(crate) use manifests::{copy_manifests, pod_of};
pub(crate) use peer::peer;
pub(crate) use program::{Ended, Program, headcount};
pub(crate) use proxy::{Proxy, dataplane, hello, ready};
pub(crate) use rustix::process::Signal;
pub(crate) use server::Server;
pub(crate) use site::Site;
pub(crate) use watch::{Counts, Watch};

/// Only a test that fails gets here. Twice what the slowest waits for on a
/// machine that does nothing else.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Asks again and again, for answers that nobody announces. `None` is "not yet".
pub(crate) async fn retry<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    const PAUSE: Duration = Duration::from_millis(20);
    let answer = tokio::time::timeout(DEADLINE, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    answer.await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}
