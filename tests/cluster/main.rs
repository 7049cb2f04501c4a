//! A real kube-apiserver before headcount, with the manifests of
//! `deploy/kubernetes`.
//!
//! ```text
//!   kubectl ──► kube-apiserver ──► etcd
//!                 │  │
//!                 │  └── webhooks: may this Pod be? what is its workload?
//!                 └───── the aggregated API, webhooks ──► headcount serve ◄── headcount agent ──► application
//! ```
//!
//! It is a control plane without nodes: the Pods are objects, and the test does
//! what a kubelet would, which is to run the agent with what the downward API
//! says. A Service leads to this machine.
//!
//! `make test-apiserver` builds what this needs and runs it. `cargo test` leaves it
//! out: kube-apiserver takes half an hour to build.

#[path = "../peers/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests with peers use all of it")]
mod support;

#[path = "../pki/mod.rs"]
#[allow(dead_code, reason = "other tests use all of it")]
mod pki;

mod control_plane;
mod installation;
mod manifests;

mod admission;
mod authorization;
mod outage;
mod reads;

use installation::Installed;

/// One cluster goes through all of it: it takes a while to start.
#[tokio::test]
#[ignore = "needs a kube-apiserver: make test-apiserver"]
async fn a_cluster_is_served_as_the_manifests_promise() {
    let Some(mut installed) = Installed::start().await else { return };
    admission::pods_get_their_workload(&installed).await;
    admission::the_label_is_refused(&installed).await;
    reads::workloads_are_a_resource_like_any_other(&installed).await;
    reads::a_watch_follows(&installed).await;
    authorization::rbac_decides_who_reads(&installed).await;
    authorization::nobody_writes(&installed).await;
    authorization::nobody_gets_in_beside_kube_apiserver(&installed).await;
    outage::the_cluster_gets_along_without(&mut installed).await;
}
