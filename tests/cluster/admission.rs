//! The webhooks, called by kube-apiserver.

use serde_json::{Value, json};

use crate::{installation::Installed, support::pod_of};

const WORKLOAD: &str = "kuma.io/workload";

/// Kuma's own message.
const DENIED: &str = "cannot manually set kuma.io/workload label on Pod; it is automatically managed by Kuma";

pub(crate) async fn pods_get_their_workload(installed: &Installed) {
    for (deployment, workload) in [("demo-app", "demo-workload"), ("backend", "backend")] {
        let pod = pod_of(&installed.demo(deployment).await, &format!("{deployment}-admitted"));
        let created = installed.create(&pod).await;
        assert_eq!(created["metadata"]["annotations"][WORKLOAD], workload, "{created}");
        assert_eq!(created["metadata"]["labels"], pod["metadata"]["labels"]);
    }
    // A Pod without a ServiceAccount gets the default one, which kube-apiserver sets before it
    // calls the webhook.
    let mut pod = pod_of(&installed.demo("backend").await, "default-account-admitted");
    pod["spec"].as_object_mut().unwrap().remove("serviceAccountName");
    let created = installed.create(&pod).await;
    assert_eq!(created["metadata"]["annotations"], json!({ WORKLOAD: "default" }));
    // Pods in a namespace outside of the mesh are not changed.
    pod["metadata"]["namespace"] = "default".into();
    let created = installed.create(&pod).await;
    assert_eq!(created["metadata"]["annotations"], Value::Null);
    // An invalid name.
    pod["metadata"]["namespace"] = "headcount-demo".into();
    pod["metadata"]["name"] = "wrong-admitted".into();
    pod["metadata"]["annotations"] = json!({ WORKLOAD: "My_Workload" });
    let ended = installed.cluster.with_file("create", &pod.to_string()).await.expect_exit(1);
    assert!(ended.err.contains("My_Workload") && ended.err.contains("DNS-1123"), "{ended}");
}

pub(crate) async fn the_label_is_denied(installed: &Installed) {
    let mut pod = pod_of(&installed.demo("demo-app").await, "labelled");
    pod["metadata"]["labels"][WORKLOAD] = "mine".into();
    let ended = installed.cluster.with_file("create", &pod.to_string()).await.expect_exit(1);
    let denied = |err: &str| {
        err.contains("admission webhook \"validator.headcount.kuma.io\" denied the request: ")
            && err.contains(DENIED)
    };
    assert!(denied(&ended.err), "{ended}");
    assert!(ended.err.contains("(Forbidden)"), "{ended}");

    let label = "label pod demo-app-admitted -n headcount-demo kuma.io/workload=mine";
    let ended = installed.cluster.kubectl("admin", label).end().await.expect_exit(1);
    assert!(denied(&ended.err), "{ended}");
    installed.cluster.admin("label pod demo-app-admitted -n headcount-demo team=shop").await;
}
