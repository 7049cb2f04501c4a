//! headcount, installed as the README of the manifests describes.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
};

use serde_json::Value;

use crate::{
    control_plane::{Cluster, FRONT_PROXY},
    manifests::point_services_here,
    support::{Application, Program, Signal, copy_manifests, headcount, run_sidecar},
};

/// A cluster with headcount and the namespace of the demo.
pub(crate) struct Installed {
    pub(crate) cluster: Cluster,
    /// A copy of the manifests, with the files that their scripts generate.
    manifests: PathBuf,
    /// headcount's gRPC address.
    pub(crate) grpc: SocketAddr,
    http: SocketAddr,
    /// headcount's address for kube-apiserver.
    pub(crate) https: SocketAddr,
    server: Option<Program>,
}

impl Installed {
    /// Starts a cluster and installs headcount; none if a program is missing.
    pub(crate) async fn start() -> Option<Self> {
        let cluster = Cluster::start().await?;
        let manifests = cluster.site.path("kubernetes");
        copy_manifests(&manifests);
        cluster.script(manifests.join("front-proxy/fetch.sh")).await.expect_exit(0);
        let generated =
            |name: &str| fs::read_to_string(manifests.join("front-proxy/generated").join(name)).unwrap();
        assert_eq!(generated("ca.crt").trim_end(), cluster.front_proxy_ca.trim_end());
        assert_eq!(generated("names.env"), format!("allowed-names={FRONT_PROXY}\n"));
        cluster.script(manifests.join("openssl/make-certificate.sh")).await.expect_exit(0);

        // The port of the Service, which was free a moment ago. The Service is an alias of
        // localhost, so it can't be an address of the site.
        let https = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (grpc, http) = (cluster.site.free_port(), cluster.site.free_port());
        let mut installed = Self { cluster, manifests, grpc, http, https, server: None };
        installed.serve().await;
        installed.apply().await;
        Some(installed)
    }

    /// Starts the server with the settings of the manifests, except for addresses and paths.
    pub(crate) async fn serve(&mut self) {
        let (openssl, front_proxy) =
            (self.manifests.join("openssl/generated"), self.manifests.join("front-proxy/generated"));
        let mut command = headcount(&format!(
            "serve --config {} --grpc-addr {} --http-addr {} --kube-api-addr {} \
             --kube-tls-cert-file {} --kube-tls-key-file {} --kube-client-ca-file {}",
            self.manifests.join("base/headcount.yaml").display(),
            self.grpc,
            self.http,
            self.https,
            openssl.join("tls.crt").display(),
            openssl.join("tls.key").display(),
            front_proxy.join("ca.crt").display(),
        ));
        let server = Program::start(command.env("HEADCOUNT_KUBE_ALLOWED_NAMES", FRONT_PROXY));
        server.wait_for_stderr("serving").await;
        self.server = Some(server);
    }

    /// Kills the server.
    pub(crate) async fn kill(&mut self) {
        let server = self.server.take().expect("a server that runs");
        server.signal(Signal::KILL);
        server.end().await;
    }

    /// Applies the manifests, unchanged except for the target of the Service.
    async fn apply(&self) {
        let namespaces = ["base/namespace.yaml", "demo/namespace.yaml"].map(|path| self.manifests.join(path));
        for path in namespaces {
            self.cluster.admin(&format!("apply -f {}", path.display())).await;
        }
        for overlay in ["openssl", "demo"] {
            let overlay = self.manifests.join(overlay);
            // Validated by kubectl and by kube-apiserver, which reject unknown fields; without
            // warnings.
            for dry_run in ["client", "server"] {
                let arguments = format!("apply --dry-run={dry_run} -k {}", overlay.display());
                let ended = self.cluster.kubectl("admin", &arguments).end().await.expect_exit(0);
                assert_eq!(ended.err, "", "{ended}");
            }
        }
        let mut objects = self.built("openssl").await;
        point_services_here(&mut objects, self.https.port());
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.cluster.with_file("apply", &list.to_string()).await.expect_exit(0);
        self.available().await;
        // The demo's own, and those that a controller creates in every namespace.
        let accounts = "{apiVersion: v1, kind: List, items: [\
            {apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: headcount-demo}},\
            {apiVersion: v1, kind: ServiceAccount, metadata: {name: backend, namespace: headcount-demo}},\
            {apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: default}}]}";
        self.cluster.with_file("apply", accounts).await.expect_exit(0);
    }

    /// Waits until kube-apiserver forwards requests to headcount.
    pub(crate) async fn available(&self) {
        let wait = "wait --for=condition=Available apiservice/v1alpha1.kuma.io --timeout=25s";
        self.cluster.admin(wait).await;
    }

    /// Builds the objects of an overlay.
    pub(crate) async fn built(&self, overlay: &str) -> Vec<Value> {
        let built =
            self.cluster.admin(&format!("kustomize {}", self.manifests.join(overlay).display())).await;
        serde_saphyr::from_multiple(&built).unwrap()
    }

    /// Returns a Deployment of the demo.
    pub(crate) async fn demo(&self, name: &str) -> Value {
        let mut objects = self.built("demo").await.into_iter();
        let mut found =
            objects.find(|object| object["kind"] == "Deployment" && object["metadata"]["name"] == name);
        found.take().unwrap_or_else(|| panic!("no Deployment {name}"))
    }

    /// Creates a Pod, and returns it with the changes of the webhooks.
    pub(crate) async fn create(&self, pod: &Value) -> Value {
        let created = self.cluster.with_file("create -o json", &pod.to_string()).await.expect_exit(0);
        serde_json::from_str(&created.out).unwrap()
    }

    /// Runs the agent of a Pod.
    pub(crate) fn run_sidecar(&self, pod: &Value, application: &Application) -> Program {
        let podinfo = self.cluster.site.path(pod["metadata"]["name"].as_str().unwrap());
        run_sidecar(pod, podinfo, self.grpc, application)
    }
}
