//! The agents of the demo manifests, started as a kubelet starts them.

use serde_json::json;

use super::{built, find};
use crate::support::{Application, Server, pod_of, run_sidecar};

#[tokio::test]
async fn the_agents_register_with_the_settings_of_their_manifests() {
    let Some(objects) = built("demo").await else { return };
    let server = Server::start("").await;
    let application = Application::start(server.site.any_port());
    for (name, workload) in [("demo-app", "demo-workload"), ("backend", "backend")] {
        let mut pod = pod_of(find(&objects, "Deployment", name), name);
        if name == "backend" {
            // The mutating webhook adds this annotation.
            pod["metadata"]["annotations"] = json!({"kuma.io/workload": workload});
        }
        pod["status"] = json!({"podIP": "10.1.2.3"});
        let _agent = run_sidecar(&pod, server.site.path(name), server.grpc, &application);
        server.run(&format!("wait workload {workload} -n headcount-demo --healthy 1")).await.expect_exit(0);
    }
}
