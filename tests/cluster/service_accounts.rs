//! Dataplanes with the tokens that kube-apiserver issues for Pods.

use std::{
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::{
    control_plane::Cluster,
    support::{Program, get, headcount, retry},
};

/// The accounts, the rights of the server's own, and a Pod that no node runs.
const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: tokens}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: tokens}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: server, namespace: tokens}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: token-reviewer}
rules: [{apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: token-reviewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: token-reviewer}
subjects: [{kind: ServiceAccount, name: server, namespace: tokens}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: tokens}
spec:
  serviceAccountName: web
  automountServiceAccountToken: false
  containers: [{name: web, image: web}]
";

/// A server that accepts the tokens of the cluster.
struct Tokens<'a> {
    cluster: &'a Cluster,
    grpc: SocketAddr,
    http: SocketAddr,
    agents: AtomicUsize,
    _server: Program,
}

impl<'a> Tokens<'a> {
    async fn start(cluster: &'a Cluster) -> Self {
        cluster.with_file("create", OBJECTS).await.expect_exit(0);
        let site = &cluster.site;
        let own = cluster.admin("create token server -n tokens").await;
        let own = site.file("server.token", &own);
        let access = format!(
            "serviceAccountTokens: {{kubeApiServer: {{url: 'https://{}', caFile: {}, tokenFile: {}, \
             reviewInterval: 1s}}}}",
            cluster.address,
            site.path("kube-apiserver/apiserver.crt").display(),
            own.display()
        );
        let access = site.file("tokens.yaml", &access);
        let podinfo = site.path("tokens-podinfo");
        fs::create_dir(&podinfo).unwrap();
        for file in ["labels", "annotations"] {
            fs::write(podinfo.join(file), "").unwrap();
        }
        let [grpc, http, kube] = [(); 3].map(|()| site.free_port());
        let server = Program::start(&mut headcount(&format!(
            "serve --grpc-addr {grpc} --http-addr {http} --kube-api-addr {kube} --access-file {}",
            access.display()
        )));
        server.wait_for_stderr("serving").await;
        Self { cluster, grpc, http, agents: AtomicUsize::new(0), _server: server }
    }

    /// Starts an agent of a dataplane with a token that kube-apiserver issues.
    async fn agent(&self, name: &str, token: &str) -> Program {
        let token = self.cluster.admin(&format!("create token web -n tokens {token}")).await;
        let site = &self.cluster.site;
        // The agent reads it again, so each has a file of its own.
        let file = format!("{}.token", self.agents.fetch_add(1, Relaxed));
        let token = site.file(&file, &token);
        Program::start(&mut headcount(&format!(
            "agent --server http://{} --gateway --pod-name {name} --pod-namespace tokens --pod-ip 127.0.0.1 \
             --workload web --podinfo-dir {} --token-file {}",
            self.grpc,
            site.path("tokens-podinfo").display(),
            token.display()
        )))
    }

    /// Waits until the metrics have a line.
    async fn wait_for_metric(&self, line: &str) {
        retry(line, async || {
            let (_, text) = get(self.http, "/metrics").await?;
            text.lines().any(|found| found == line).then_some(())
        })
        .await;
    }
}

pub(crate) async fn a_pod_is_its_dataplane_until_it_is_deleted(cluster: &Cluster) {
    let tokens = Tokens::start(cluster).await;
    let bound = "--bound-object-kind Pod --bound-object-name web-1 --audience headcount";
    let agent = tokens.agent("web-1", bound).await;
    let connected = |count| {
        format!(
            "headcount_dataplane_proxies_connected{{mesh=\"default\",namespace=\"tokens\",workload=\"web\"}} {count}"
        )
    };
    tokens.wait_for_metric(&connected(1)).await;

    for (name, token, problem) in [
        ("web-2", bound, "proxy name from requestor: web-2 is different than in ServiceAccount token: web-1"),
        ("web-1", "--audience headcount", "the ServiceAccount token is not bound to a Pod"),
        (
            "web-1",
            "--bound-object-kind Pod --bound-object-name web-1 --audience other",
            "is not for the audience",
        ),
    ] {
        let other = tokens.agent(name, token).await;
        other.wait_for_stderr(problem).await;
    }
    cluster.admin("delete pod web-1 -n tokens --grace-period 0 --force").await;
    agent.wait_for_stderr("kube-apiserver rejects the ServiceAccount token").await;
    tokens.wait_for_metric(&connected(0)).await;
}
