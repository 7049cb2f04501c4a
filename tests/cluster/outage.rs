//! While headcount is away.

use crate::{
    installation::Installed,
    support::{pod_of, retry},
};

pub(crate) async fn the_cluster_gets_along_without(installed: &mut Installed) {
    installed.kill().await;
    let cluster = &installed.cluster;
    retry("kube-apiserver has noticed", async || {
        let get = "get apiservice v1alpha1.kuma.io -o jsonpath={.status.conditions[0].status}";
        (cluster.admin(get).await == "False").then_some(())
    })
    .await;
    // A Pod of the mesh has to wait, and its controller will try again.
    let mut pod = pod_of(&installed.demo("demo-app").await, "demo-app-in-vain");
    let refused = cluster.with_file("create", &pod.to_string()).await.expect_exit(1);
    assert!(refused.err.contains("failed calling webhook \"workload.headcount.kuma.io\""), "{refused}");
    // One that runs can be changed, and ended; others are not concerned.
    cluster.admin("annotate pod demo-app-1 -n headcount-demo note=anything").await;
    cluster.admin("delete pod demo-app-1 -n headcount-demo --now").await;
    pod["metadata"]["namespace"] = "default".into();
    installed.create(&pod).await;

    installed.serve().await;
    installed.available().await;
    let pod = pod_of(&installed.demo("demo-app").await, "demo-app-at-last");
    installed.create(&pod).await;
}
