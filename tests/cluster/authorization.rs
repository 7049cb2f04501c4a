//! Authorization by kube-apiserver (RBAC), and requests that bypass it.

use crate::installation::Installation;

pub(crate) async fn rbac_controls_reads(installation: &Installation) {
    let cluster = &installation.cluster;
    cluster.add_user("alice", "dev");
    let list = "get workloads -n headcount-demo";
    let refused = cluster.kubectl("alice", list).end().await.expect_exit(1);
    assert!(
        refused.err.contains("(Forbidden)") && refused.err.contains("\"alice\" cannot list"),
        "{refused}"
    );

    // In a full cluster, a controller aggregates the rules of this role into the role `view`.
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
        let refused = cluster.kubectl("alice", elsewhere).end().await.expect_exit(1);
        assert!(refused.err.contains("(Forbidden)"), "{refused}");
    }
}

pub(crate) async fn workloads_are_read_only(installation: &Installation) {
    let workload = "{apiVersion: kuma.io/v1alpha1, kind: Workload, \
                     metadata: {name: mine, namespace: headcount-demo}, spec: {}}";
    let refused = installation.cluster.with_file("create", workload).await.expect_exit(1);
    assert!(refused.err.contains("(MethodNotAllowed)") && refused.err.contains("automatically"), "{refused}");
    let delete = "delete workload mine -n headcount-demo";
    let refused = installation.cluster.kubectl("admin", delete).end().await.expect_exit(1);
    assert!(refused.err.contains("(MethodNotAllowed)"), "{refused}");
    let refused = installation.cluster.kubectl("alice", delete).end().await.expect_exit(1);
    assert!(refused.err.contains("(Forbidden)"), "kube-apiserver rejects it by RBAC: {refused}");
}

/// Sent straight to headcount, with the administrator's client certificate or with a token.
pub(crate) async fn requests_that_bypass_kube_apiserver_are_rejected(installation: &Installation) {
    let cluster = &installation.cluster;
    let server =
        format!("--server https://localhost:{} --insecure-skip-tls-verify", installation.https.port());
    let get = "get --raw /apis/kuma.io/v1alpha1/workloads --request-timeout 20s";
    for credentials in ["", "--kubeconfig /dev/null --token forged"] {
        let refused =
            cluster.kubectl("admin", &format!("{get} {server} {credentials}")).end().await.expect_exit(1);
        assert!(refused.err.contains("(Unauthorized)") || refused.err.contains("logged in"), "{refused}");
    }
}
