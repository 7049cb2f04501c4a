//! While headcount is down.

use crate::{
    installation::Installation,
    support::{pod_of, retry},
};

pub(crate) async fn only_pods_of_the_mesh_are_rejected_during_an_outage(installation: &mut Installation) {
    installation.kill().await;
    let cluster = &installation.cluster;
    retry("kube-apiserver reports headcount as unavailable", async || {
        let get = "get apiservice v1alpha1.kuma.io -o jsonpath={.status.conditions[0].status}";
        (cluster.admin(get).await == "False").then_some(())
    })
    .await;
    // A new Pod of the mesh is rejected; its controller would retry.
    let mut pod = pod_of(&installation.demo_deployment("demo-app").await, "demo-app-rejected");
    let refused = cluster.with_file("create", &pod.to_string()).await.expect_exit(1);
    assert!(refused.err.contains("failed calling webhook \"workload.headcount.kuma.io\""), "{refused}");
    // An existing Pod can be changed and deleted, and a Pod outside of the mesh can be created.
    cluster.admin("annotate pod demo-app-1 -n headcount-demo note=anything").await;
    cluster.admin("delete pod demo-app-1 -n headcount-demo --now").await;
    pod["metadata"]["namespace"] = "default".into();
    installation.create(&pod).await;

    installation.serve().await;
    installation.wait_until_available().await;
    let pod = pod_of(&installation.demo_deployment("demo-app").await, "demo-app-after-outage");
    installation.create(&pod).await;
}
