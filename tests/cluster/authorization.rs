//! Authorization by kube-apiserver.

use crate::installation::Installed;

pub(crate) async fn rbac_decides_who_reads(installed: &Installed) {
    let cluster = &installed.cluster;
    cluster.create_user("alice", "dev");
    let list = "get workloads -n headcount-demo";
    let rejected = cluster.kubectl("alice", list).end().await.expect_exit(1);
    assert!(
        rejected.err.contains("(Forbidden)") && rejected.err.contains("\"alice\" cannot list"),
        "{rejected}"
    );

    // The label that makes a controller, which does not run here, add our rules to the role `view`.
    let role = cluster.admin("get clusterrole headcount-workloads-view -o yaml").await;
    assert!(role.contains("rbac.authorization.k8s.io/aggregate-to-view: \"true\""), "{role}");
    cluster
        .admin(
            "create rolebinding alice -n headcount-demo --user=alice --clusterrole=headcount-workloads-view",
        )
        .await;
    cluster.kubectl("alice", list).end().await.expect_exit(0);
    cluster
        .kubectl("alice", "auth can-i watch workloads.kuma.io -n headcount-demo")
        .end()
        .await
        .expect_exit(0);
    for elsewhere in ["get workloads -n default", "get workloads -A"] {
        let rejected = cluster.kubectl("alice", elsewhere).end().await.expect_exit(1);
        assert!(rejected.err.contains("(Forbidden)"), "{rejected}");
    }
}

pub(crate) async fn writes_are_rejected(installed: &Installed) {
    let workload = "{apiVersion: kuma.io/v1alpha1, kind: Workload, \
                     metadata: {name: mine, namespace: headcount-demo}, spec: {}}";
    let rejected = installed.cluster.with_file("create", workload).await.expect_exit(1);
    assert!(
        rejected.err.contains("(MethodNotAllowed)") && rejected.err.contains("automatically"),
        "{rejected}"
    );
    let delete = "delete workload mine -n headcount-demo";
    let rejected = installed.cluster.kubectl("admin", delete).end().await.expect_exit(1);
    assert!(rejected.err.contains("(MethodNotAllowed)"), "{rejected}");
    let rejected = installed.cluster.kubectl("alice", delete).end().await.expect_exit(1);
    assert!(rejected.err.contains("(Forbidden)"), "rejected by kube-apiserver: {rejected}");
}

/// Requests that bypass kube-apiserver are rejected, with the administrator's certificate and with a
/// token.
pub(crate) async fn direct_requests_are_rejected(installed: &Installed) {
    let cluster = &installed.cluster;
    let server = format!("--server https://localhost:{} --insecure-skip-tls-verify", installed.https.port());
    let get = "get --raw /apis/kuma.io/v1alpha1/workloads --request-timeout 20s";
    for credentials in ["", "--kubeconfig /dev/null --token forged"] {
        let rejected =
            cluster.kubectl("admin", &format!("{get} {server} {credentials}")).end().await.expect_exit(1);
        assert!(rejected.err.contains("(Unauthorized)") || rejected.err.contains("logged in"), "{rejected}");
    }
}
