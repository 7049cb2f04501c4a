//! Dataplanes with the tokens that kube-apiserver issues for Pods.

use std::{
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use serde_json::{Value, json};

use crate::{
    control_plane::Cluster,
    support::{Program, copy_manifests, get, headcount, parse_objects, retry},
};

/// The account of an application, and a Pod that no node runs.
const APPLICATION: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: tokens}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: tokens}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: tokens}
spec:
  serviceAccountName: web
  automountServiceAccountToken: false
  containers: [{name: web, image: web}]
";

/// The account of the server.
const SERVER: &str = "system:serviceaccount:headcount-system:headcount";

/// A server that accepts the tokens of the cluster, and has the account of the manifests.
struct Tokens<'a> {
    cluster: &'a Cluster,
    /// The `ClusterRole` of the manifests.
    role: Value,
    grpc: SocketAddr,
    http: SocketAddr,
    agents: AtomicUsize,
    server: Program,
}

impl<'a> Tokens<'a> {
    async fn start(cluster: &'a Cluster) -> Self {
        cluster.with_file("create", APPLICATION).await.expect_exit(0);
        let site = &cluster.site;
        let manifests = site.path("kubernetes");
        copy_manifests(&manifests);
        let built = cluster.admin(&format!("kustomize {}", manifests.join("base").display())).await;
        let mut account = parse_objects(&built);
        account.retain(|object| {
            let kind = object["kind"].as_str().unwrap();
            object["metadata"]["name"] == "headcount"
                && matches!(kind, "ServiceAccount" | "ClusterRole" | "ClusterRoleBinding")
        });
        let role = account.iter().position(|object| object["kind"] == "ClusterRole").unwrap();
        let role = account.remove(role);
        assert_eq!(account.len(), 2, "{account:?}");
        cluster.admin("create namespace headcount-system").await;
        let account = json!({"apiVersion": "v1", "kind": "List", "items": account});
        cluster.with_file("create", &account.to_string()).await.expect_exit(0);
        // Not every cluster has this binding. It lets all accounts read the keys.
        cluster.admin("delete clusterrolebinding system:service-account-issuer-discovery").await;
        retry("the account has no rights", async || {
            (!may(cluster, "get /openid/v1/jwks").await).then_some(())
        })
        .await;
        let own = cluster.admin("create token headcount -n headcount-system").await;
        let own = site.file("server.token", &own);
        let access = format!(
            "serviceAccountTokens: {{kubeApiServer: {{url: 'https://{}', caFile: {}, tokenFile: {}, \
             reviewInterval: 1s}}}}",
            cluster.address,
            cluster.certificate().display(),
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
        Self { cluster, role, grpc, http, agents: AtomicUsize::new(0), server }
    }

    /// Gives the server's account these rules of its role, by index.
    async fn allow(&self, rules: &[usize]) {
        let mut role = self.role.clone();
        role["rules"] = rules.iter().map(|rule| self.role["rules"][*rule].clone()).collect();
        self.cluster.with_file("apply", &role.to_string()).await.expect_exit(0);
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

    /// Waits until a metric is at least 1.
    async fn wait_for_metric(&self, name: &str) {
        retry(name, async || {
            let (_, text) = get(self.http, "/metrics").await?;
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
            (value != "0").then_some(())
        })
        .await;
    }

    /// Waits until this many dataplanes are connected.
    async fn wait_for_connected(&self, count: u32) {
        let line = format!(
            "headcount_dataplane_proxies_connected{{mesh=\"default\",namespace=\"tokens\",workload=\"web\"}} {count}"
        );
        retry(&line, async || {
            let (_, text) = get(self.http, "/metrics").await?;
            text.lines().any(|found| found == line).then_some(())
        })
        .await;
    }
}

/// Whether the server's account may do this.
async fn may(cluster: &Cluster, action: &str) -> bool {
    let answer = cluster.kubectl("admin", &format!("auth can-i {action} --as {SERVER}")).end().await;
    answer.out.trim() == "yes"
}

/// The role has two rules: reviews, and the issuer and its keys.
const REVIEWS: usize = 0;
const KEYS: usize = 1;
const BOUND: &str = "--bound-object-kind Pod --bound-object-name web-1 --audience headcount";

pub(crate) async fn the_server_needs_each_rule_of_its_role_and_no_other(cluster: &Cluster) {
    let tokens = Tokens::start(cluster).await;
    assert_eq!(tokens.role["rules"].as_array().unwrap().len(), 2);
    tokens.allow(&[REVIEWS]).await;
    tokens.wait_for_metric("headcount_service_account_key_fetches_total{outcome=\"failed\"}").await;
    tokens.server.wait_for_stderr("/.well-known/openid-configuration: 403 Forbidden").await;

    tokens.allow(&[KEYS]).await;
    tokens.wait_for_metric("headcount_service_account_key_fetches_total{outcome=\"ok\"}").await;
    let agent = tokens.agent("web-1", BOUND).await;
    tokens.wait_for_connected(1).await;
    tokens.server.wait_for_stderr("/apis/authentication.k8s.io/v1/tokenreviews: 403 Forbidden").await;

    tokens.allow(&[REVIEWS, KEYS]).await;
    tokens.wait_for_metric("headcount_token_reviews_total{outcome=\"accepted\"}").await;
    for right in ["create tokenreviews.authentication.k8s.io", "get /openid/v1/jwks"] {
        assert!(may(cluster, right).await, "{right}");
    }
    for right in [
        "create subjectaccessreviews.authorization.k8s.io",
        "get secrets -n headcount-system",
        "get configmaps -n kube-system",
        "list pods -A",
        "create serviceaccounts/token -n headcount-system",
    ] {
        assert!(!may(cluster, right).await, "{right}");
    }
    tokens.a_pod_is_its_dataplane_until_it_is_deleted(agent).await;
}

impl Tokens<'_> {
    /// `agent` is that of the Pod.
    async fn a_pod_is_its_dataplane_until_it_is_deleted(&self, agent: Program) {
        for (name, token, problem) in [
            (
                "web-2",
                BOUND,
                "proxy name from requestor: web-2 is different than in ServiceAccount token: web-1",
            ),
            ("web-1", "--audience headcount", "the ServiceAccount token is not bound to a Pod"),
            (
                "web-1",
                "--bound-object-kind Pod --bound-object-name web-1 --audience other",
                "is not for the audience",
            ),
        ] {
            let other = self.agent(name, token).await;
            other.wait_for_stderr(problem).await;
        }
        self.cluster.admin("delete pod web-1 -n tokens --grace-period 0 --force").await;
        agent.wait_for_stderr("kube-apiserver rejects the ServiceAccount token").await;
        self.wait_for_connected(0).await;
    }
}
