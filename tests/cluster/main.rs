//! A real kube-apiserver in front of headcount, with the manifests of `deploy/kubernetes`.
//!
//! ```text
//!   kubectl ──► kube-apiserver ──► etcd
//!                 │  │
//!                 │  └── webhooks: is this Pod allowed? what is its workload?
//!                 └───── the aggregated API, webhooks ──► headcount serve ◄── headcount agent ──► application
//! ```
//!
//! The control plane has no nodes: Pods exist only as objects, and the test runs their agents
//! as a kubelet would, with the environment and the downward API files of the Pod. The Service
//! is an alias of this machine.
//!
//! `make test-apiserver` builds the programs and runs the test. `cargo test` skips it, because
//! kube-apiserver takes half an hour to build.

#[path = "../peers/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "tests/peers uses all of it")]
mod support;

#[path = "../pki/mod.rs"]
#[allow(dead_code, reason = "tests/apiserver uses all of it")]
mod pki;

mod control_plane;
mod installation;
mod manifests;

mod admission;
mod authorization;
mod outage;
mod reads;
mod renewal;
mod service_accounts;

use control_plane::Cluster;
use installation::Installed;

/// One test for all: a cluster takes a while to start.
#[tokio::test]
#[ignore = "needs a kube-apiserver: make test-apiserver"]
async fn headcount_works_behind_kube_apiserver() {
    let Some(mut installed) = Installed::start().await else { return };
    admission::pods_get_their_workload(&installed).await;
    admission::the_label_is_denied(&installed).await;
    reads::kubectl_reads_workloads(&installed).await;
    reads::a_watch_shows_changes(&installed).await;
    authorization::rbac_decides_who_reads(&installed).await;
    authorization::writes_are_rejected(&installed).await;
    authorization::direct_requests_are_rejected(&installed).await;
    renewal::kube_apiserver_and_agents_trust_the_server_before_and_after(&mut installed).await;
    outage::the_cluster_works_while_headcount_is_down(&mut installed).await;
}

/// The programs of a cluster with the account of the server alone.
#[tokio::test]
#[ignore = "needs a kube-apiserver: make test-apiserver"]
async fn pods_prove_their_dataplanes_by_tokens_of_kube_apiserver() {
    let Some(cluster) = Cluster::start().await else { return };
    service_accounts::the_server_needs_each_rule_of_its_role_and_no_other(&cluster).await;
}
