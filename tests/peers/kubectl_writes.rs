//! Writes of Workloads with real kubectl are rejected with an explanation.

use crate::support::{Kubectl, Server, gateway};

const MANIFEST: &str = "\
apiVersion: kuma.io/v1alpha1
kind: Workload
metadata:
  name: by-hand
  namespace: default
spec: {}
";

#[tokio::test]
async fn every_write_is_rejected_with_the_remedy() {
    let server = Server::start("").await;
    let _agent = server.agent("w1", &gateway("default", "web", "w1"));
    server.wait_for_counts("web", [1, 1, 1]).await;
    let file = server.site.file("workload.yaml", MANIFEST);
    let file = file.display();
    for kubectl in Kubectl::all(&server).await {
        for arguments in [
            format!("create -f {file}"),
            format!("apply -f {file}"),
            format!("apply --server-side -f {file}"),
            format!("replace -f {file}"),
            "delete workload web".into(),
            "delete workloads --all".into(),
            "label workload web a=b".into(),
            "annotate workload web a=b".into(),
            "edit workload web".into(),
            "patch workload web --type=merge -p {\"a\":1}".into(),
        ] {
            let ended = kubectl.run(&arguments).await.expect_exit(1);
            for part in
                ["workloads.kuma.io are read-only", "managed automatically", "Change the dataplanes instead"]
            {
                assert!(ended.err.contains(part), "1.{} {part:?}: {ended}", kubectl.minor);
            }
        }
        let dry = kubectl.run(&format!("apply --dry-run=client -f {file}")).await.expect_exit(0);
        assert!(dry.out.contains("created (dry run)"), "{dry}");
    }
    server.wait_for_counts("web", [1, 1, 1]).await;
}
