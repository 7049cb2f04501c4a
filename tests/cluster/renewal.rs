//! The certificate of headcount is replaced.

use crate::{
    installation::Installed,
    support::{Application, pod_of},
};

/// kube-apiserver gets the new certificate as a CA before the server presents it, as it does when a kubelet
/// updates the server's files later.
pub(crate) async fn kube_apiserver_and_agents_trust_the_server_before_and_after(installed: &mut Installed) {
    installed.make_certificate().await;
    installed.apply_server().await;
    works(installed, "before").await;
    installed.kill().await;
    installed.serve().await;
    installed.copy_ca().await;
    installed.available().await;
    works(installed, "after").await;
}

/// kubectl lists, the webhooks are called, and an agent registers.
async fn works(installed: &Installed, name: &str) {
    let cluster = &installed.cluster;
    cluster.admin("get workloads -A").await;
    let pod = pod_of(&installed.demo("backend").await, &format!("renewal-{name}"));
    let pod = installed.create(&pod).await;
    assert_eq!(pod["metadata"]["annotations"]["kuma.io/workload"], "backend");
    let application = Application::start(cluster.site.any_port());
    let _agent = installed.run_sidecar(&pod, &application).await;
    let healthy = "wait workload backend -n headcount-demo --timeout=25s \
                   --for=jsonpath={.status.dataplaneProxies.healthy}=1";
    cluster.admin(healthy).await;
    cluster.admin("get workloads -A").await;
}
