//! headcount behind a real kube-apiserver, installed with the manifests of
//! `deploy/kubernetes`.
//!
//! ```text
//!   kubectl ──► kube-apiserver ──► etcd
//!                 │  │
//!                 │  └── webhooks: is this Pod valid? what is its workload?
//!                 └───── the aggregated API, webhooks ──► headcount serve ◄── headcount agent ──► application
//! ```
//!
//! The cluster has a control plane and no nodes. Pods are objects only; in place of a
//! kubelet, the test runs the agent of a Pod, with the values of the downward API. The
//! Service leads to this machine.
//!
//! `make test-apiserver` builds kube-apiserver and etcd and runs this test. `cargo test`
//! skips it: kube-apiserver takes half an hour to build.

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

use installation::Installation;

/// One cluster for all steps, because it takes a while to start.
#[tokio::test]
#[ignore = "needs a kube-apiserver: make test-apiserver"]
async fn the_manifests_work_in_a_cluster() {
    let Some(mut installation) = Installation::start().await else { return };
    admission::a_pod_is_annotated_with_its_workload(&installation).await;
    admission::a_pod_with_the_workload_label_is_rejected(&installation).await;
    reads::kubectl_reads_workloads(&installation).await;
    reads::a_watch_delivers_changes(&installation).await;
    authorization::rbac_controls_reads(&installation).await;
    authorization::workloads_are_read_only(&installation).await;
    authorization::requests_that_bypass_kube_apiserver_are_rejected(&installation).await;
    outage::only_pods_of_the_mesh_are_rejected_during_an_outage(&mut installation).await;
}
