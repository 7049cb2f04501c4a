//! The webhooks, called by kube-apiserver.

use serde_json::{Value, json};

use crate::{installation::Installation, support::pod_of};

const WORKLOAD: &str = "kuma.io/workload";

/// Kuma's error message.
const REFUSED: &str =
    "cannot manually set kuma.io/workload label on Pod; it is automatically managed by Kuma";

pub(crate) async fn a_pod_is_annotated_with_its_workload(installation: &Installation) {
    for (deployment, workload) in [("demo-app", "demo-workload"), ("backend", "backend")] {
        let pod = pod_of(&installation.demo_deployment(deployment).await, &format!("{deployment}-admitted"));
        let created = installation.create(&pod).await;
        assert_eq!(created["metadata"]["annotations"][WORKLOAD], workload, "{created}");
        assert_eq!(created["metadata"]["labels"], pod["metadata"]["labels"]);
    }
    // Without a ServiceAccount in the manifest, the workload is named after the default one:
    // kube-apiserver has set it before it calls the webhook.
    let mut pod = pod_of(&installation.demo_deployment("backend").await, "default-account-admitted");
    pod["spec"].as_object_mut().unwrap().remove("serviceAccountName");
    let created = installation.create(&pod).await;
    assert_eq!(created["metadata"]["annotations"], json!({ WORKLOAD: "default" }));
    // In a namespace outside of the mesh a Pod is not changed.
    pod["metadata"]["namespace"] = "default".into();
    let created = installation.create(&pod).await;
    assert_eq!(created["metadata"]["annotations"], Value::Null);
    // An invalid workload name is rejected.
    pod["metadata"]["namespace"] = "headcount-demo".into();
    pod["metadata"]["name"] = "wrong-admitted".into();
    pod["metadata"]["annotations"] = json!({ WORKLOAD: "My_Workload" });
    let ended = installation.cluster.with_file("create", &pod.to_string()).await.expect_exit(1);
    assert!(ended.err.contains("My_Workload") && ended.err.contains("DNS-1123"), "{ended}");
}

pub(crate) async fn a_pod_with_the_workload_label_is_rejected(installation: &Installation) {
    let mut pod = pod_of(&installation.demo_deployment("demo-app").await, "labelled");
    pod["metadata"]["labels"][WORKLOAD] = "mine".into();
    let ended = installation.cluster.with_file("create", &pod.to_string()).await.expect_exit(1);
    let denied = |err: &str| {
        err.contains("admission webhook \"validator.headcount.kuma.io\" denied the request: ")
            && err.contains(REFUSED)
    };
    assert!(denied(&ended.err), "{ended}");
    assert!(ended.err.contains("(Forbidden)"), "{ended}");

    let label = "label pod demo-app-admitted -n headcount-demo kuma.io/workload=mine";
    let ended = installation.cluster.kubectl("admin", label).end().await.expect_exit(1);
    assert!(denied(&ended.err), "{ended}");
    installation.cluster.admin("label pod demo-app-admitted -n headcount-demo team=shop").await;
}
