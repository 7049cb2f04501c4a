//! The cluster while headcount is down.

use crate::{
    installation::Installed,
    support::{pod_of, retry},
};

pub(crate) async fn the_cluster_works_while_headcount_is_down(installed: &mut Installed) {
    installed.kill().await;
    let cluster = &installed.cluster;
    retry("kube-apiserver marks the APIService unavailable", async || {
        let get = "get apiservice v1alpha1.kuma.io -o jsonpath={.status.conditions[0].status}";
        (cluster.admin(get).await == "False").then_some(())
    })
    .await;
    // A Pod of the mesh can't be created; its controller would retry.
    let mut pod = pod_of(&installed.demo("demo-app").await, "demo-app-rejected");
    let rejected = cluster.with_file("create", &pod.to_string()).await.expect_exit(1);
    assert!(rejected.err.contains("failed calling webhook \"workload.headcount.kuma.io\""), "{rejected}");
    // Existing Pods can be changed and deleted, and Pods outside of the mesh created.
    cluster.admin("annotate pod demo-app-1 -n headcount-demo note=anything").await;
    cluster.admin("delete pod demo-app-1 -n headcount-demo --now").await;
    pod["metadata"]["namespace"] = "default".into();
    installed.create(&pod).await;

    installed.serve().await;
    installed.available().await;
    let pod = pod_of(&installed.demo("demo-app").await, "demo-app-accepted");
    installed.create(&pod).await;
}
