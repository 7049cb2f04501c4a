//! kubectl over TLS, with a user token or a client certificate.

use crate::{
    secured::Secured,
    support::{Kubectl, Signal, gateway},
};

const MANIFEST: &str = "\
apiVersion: kuma.io/v1alpha1
kind: Workload
metadata: {name: by-hand, namespace: default}
spec: {}
";

#[tokio::test]
async fn kubectl_reads_and_watches_with_the_token_or_the_certificate_of_a_viewer_and_does_not_write() {
    let secured = Secured::start(&["kube"], "").await;
    let server = &secured.server;
    let _agent = server.agent("w1", &gateway("default", "web", "w1"));
    server.wait_for_counts("web", [1, 1, 1]).await;
    let token = secured.path("token");
    let access = format!(
        "--kube-server https://{} --ca-file {} --token-file {token}",
        server.kube,
        secured.path("ca.crt")
    );
    let viewer = secured.write_token("viewer", "user-token", "--name alice --group ops").await;
    let other = secured.write_token("other", "user-token", "--name bob --group dev").await;
    let manifest = server.site.file("workload.yaml", MANIFEST).display().to_string();
    std::fs::copy(&viewer, &token).unwrap();
    for kubectl in Kubectl::all_for(server, &access).await {
        std::fs::copy(&viewer, &token).unwrap();
        let table = kubectl.table("get workloads").await;
        assert_eq!(table[1][..5], ["web", "default", "1", "1", "1"]);
        let watch = kubectl.start("get workloads -w");
        watch.wait_for_stdout("the list", |out| out.contains("web ").then_some(())).await;
        let name = format!("w{}", kubectl.minor);
        let more = server.agent(&name, &gateway("default", "web", &name));
        let changed = |out: &str| {
            let last = out.lines().last()?.split_whitespace().nth(2)?;
            (last == "2").then_some(())
        };
        watch.wait_for_stdout("a change", changed).await;
        more.signal(Signal::TERM);
        more.end().await.expect_exit(0);
        for write in [format!("create -f {manifest}"), "delete workload web".to_owned()] {
            let refused = kubectl.run(&write).await.expect_exit(1);
            assert!(refused.err.contains("workloads.kuma.io are read-only"), "{refused}");
        }

        // kubectl reads the file for each command.
        std::fs::copy(&other, &token).unwrap();
        let refused = kubectl.run("get workloads").await.expect_exit(1);
        let forbidden = "Error from server (Forbidden): ";
        let denied = "user \"bob\" cannot list resource \"workloads\"";
        assert!(refused.err.starts_with(forbidden) && refused.err.contains(denied), "{refused}");
        server.site.file("token", "nonsense");
        let refused = kubectl.run("get workloads").await.expect_exit(1);
        assert!(refused.err.contains("token is malformed"), "{refused}");
    }
    server.wait_for_counts("web", [1, 1, 1]).await;

    secured.write_certificate("admin");
    let [ca, cert, key] = ["ca.crt", "admin.crt", "admin.key"].map(|name| secured.path(name));
    let access = format!(
        "--kube-server https://{} --ca-file {ca} --client-cert-file {cert} --client-key-file {key}",
        server.kube
    );
    for kubectl in Kubectl::all_for(server, &access).await {
        assert_eq!(kubectl.table("get workloads").await[1][..5], ["web", "default", "1", "1", "1"]);
    }
}
