//! Who may do what, by kube-apiserver's word.

use crate::installation::Installed;

pub(crate) async fn rbac_decides_who_reads(installed: &Installed) {
    let cluster = &installed.cluster;
    cluster.admit("alice", "dev");
    let list = "get workloads -n headcount-demo";
    let refused = cluster.kubectl("alice", list).end().await.expect_exit(1);
    assert!(
        refused.err.contains("(Forbidden)") && refused.err.contains("\"alice\" cannot list"),
        "{refused}"
    );

    // A controller, which is not here, lets the role `view` have the rules of ours.
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

pub(crate) async fn nobody_writes(installed: &Installed) {
    let workload = "{apiVersion: kuma.io/v1alpha1, kind: Workload, \
                     metadata: {name: mine, namespace: headcount-demo}, spec: {}}";
    let refused = installed.cluster.with_file("create", workload).await.expect_exit(1);
    assert!(refused.err.contains("(MethodNotAllowed)") && refused.err.contains("automatically"), "{refused}");
    let delete = "delete workload mine -n headcount-demo";
    let refused = installed.cluster.kubectl("admin", delete).end().await.expect_exit(1);
    assert!(refused.err.contains("(MethodNotAllowed)"), "{refused}");
    let refused = installed.cluster.kubectl("alice", delete).end().await.expect_exit(1);
    assert!(refused.err.contains("(Forbidden)"), "kube-apiserver has refused her: {refused}");
}

/// Neither with the administrator's own certificate nor with a token.
pub(crate) async fn nobody_gets_in_beside_kube_apiserver(installed: &Installed) {
    let cluster = &installed.cluster;
    let server = format!("--server https://localhost:{} --insecure-skip-tls-verify", installed.https.port());
    let get = "get --raw /apis/kuma.io/v1alpha1/workloads --request-timeout 20s";
    for who in ["", "--kubeconfig /dev/null --token forged"] {
        let refused = cluster.kubectl("admin", &format!("{get} {server} {who}")).end().await.expect_exit(1);
        assert!(refused.err.contains("(Unauthorized)") || refused.err.contains("logged in"), "{refused}");
    }
}
