//! headcount, installed as the README of the manifests describes.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
};

use serde_json::{Value, json};

use crate::{
    control_plane::{Cluster, FRONT_PROXY},
    manifests::point_services_here,
    support::{
        Application, Program, Provided, Signal, container, copy_manifests, parse_objects, pod_of, replace,
        run_sidecar, token_source,
    },
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
        cluster.script(manifests.join("front-proxy/fetch.sh"), &[]).await.expect_exit(0);
        let generated =
            |name: &str| fs::read_to_string(manifests.join("front-proxy/generated").join(name)).unwrap();
        assert_eq!(generated("ca.crt").trim_end(), cluster.front_proxy_ca.trim_end());
        assert_eq!(generated("names.env"), format!("allowed-names={FRONT_PROXY}\n"));

        // The port of the Service, which was free a moment ago. The Service is an alias of
        // localhost, so it can't be an address of the site.
        let https = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (grpc, http) = (cluster.site.free_port(), cluster.site.free_port());
        let mut installed = Self { cluster, manifests, grpc, http, https, server: None };
        installed.make_certificate().await;
        installed.apply().await;
        installed.serve().await;
        installed.available().await;
        installed.copy_ca().await;
        Some(installed)
    }

    /// Starts the server as a kubelet starts it, except for its addresses.
    pub(crate) async fn serve(&mut self) {
        let cluster = &self.cluster;
        let mut objects = self.built("self-signed").await;
        let root_ca = fs::read_to_string(cluster.certificate()).unwrap();
        objects.push(json!({
            "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": root_ca},
        }));
        let access = objects.iter_mut().find(|object| object["metadata"]["name"] == "headcount-access");
        let access = &mut access.unwrap()["data"]["access.yaml"];
        // The defaults, written out because they are other paths here.
        let path = "/var/run/secrets/kubernetes.io/serviceaccount";
        let defaults = format!(
            "serviceAccountTokens: {{kubeApiServer: {{caFile: {path}/ca.crt, tokenFile: {path}/token, \
             reviewInterval: 1s}}}}"
        );
        *access =
            replace(access.as_str().unwrap(), "\nserviceAccountTokens: {}", &format!("\n{defaults}")).into();
        let pod = pod_of(find(&objects, "Deployment", "headcount"), "headcount");
        let token = cluster.admin("create token headcount -n headcount-system").await;
        let provided = Provided { objects: &objects, token: &token };
        let mut server =
            container(&pod, &pod["spec"]["containers"][0], &cluster.site.path("server"), provided);
        for (listener, address) in [("grpc", self.grpc), ("http", self.http), ("kube-api", self.https)] {
            server.arg(format!("--{listener}-addr={address}"));
        }
        // The kubelet sets these in each container.
        server.env("KUBERNETES_SERVICE_HOST", cluster.address.ip().to_string());
        server.env("KUBERNETES_SERVICE_PORT", cluster.address.port().to_string());
        let server = Program::start(&mut server);
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
        for overlay in ["self-signed", "demo"] {
            let overlay = self.manifests.join(overlay);
            // Validated by kubectl and by kube-apiserver, which reject unknown fields; without
            // warnings.
            for dry_run in ["client", "server"] {
                let arguments = format!("apply --dry-run={dry_run} -k {}", overlay.display());
                let ended = self.cluster.kubectl("admin", &arguments).end().await.expect_exit(0);
                assert_eq!(ended.err, "", "{ended}");
            }
        }
        self.apply_server().await;
        // The demo's own, and those that a controller creates in every namespace.
        let accounts = "{apiVersion: v1, kind: List, items: [\
            {apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: headcount-demo}},\
            {apiVersion: v1, kind: ServiceAccount, metadata: {name: backend, namespace: headcount-demo}},\
            {apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: default}}]}";
        self.cluster.with_file("apply", accounts).await.expect_exit(0);
    }

    /// Applies the objects of the server.
    pub(crate) async fn apply_server(&self) {
        let mut objects = self.built("self-signed").await;
        point_services_here(&mut objects, self.https.port());
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.cluster.with_file("apply", &list.to_string()).await.expect_exit(0);
    }

    /// Creates a certificate, which the server has when it is started the next time.
    pub(crate) async fn make_certificate(&self) {
        let script = self.manifests.join("self-signed/make-certificate.sh");
        self.cluster.script(script, &[]).await.expect_exit(0);
    }

    /// Waits until kube-apiserver forwards requests to headcount.
    pub(crate) async fn available(&self) {
        let wait = "wait --for=condition=Available apiservice/v1alpha1.kuma.io --timeout=25s";
        self.cluster.admin(wait).await;
    }

    /// Copies headcount's CA to the namespace of the demo.
    pub(crate) async fn copy_ca(&self) {
        let script = self.manifests.join("agents/copy-ca.sh");
        self.cluster.script(script, &["headcount-demo"]).await.expect_exit(0);
        let ca = self.cluster.admin(&format!("{CA} -o jsonpath={{.data.ca\\.crt}}")).await;
        let certificate = fs::read_to_string(self.manifests.join("self-signed/generated/ca.crt")).unwrap();
        assert_eq!(ca.trim_end(), certificate.trim_end());
    }

    /// Builds the objects of an overlay.
    pub(crate) async fn built(&self, overlay: &str) -> Vec<Value> {
        let built =
            self.cluster.admin(&format!("kustomize {}", self.manifests.join(overlay).display())).await;
        parse_objects(&built)
    }

    /// Returns a Deployment of the demo.
    pub(crate) async fn demo(&self, name: &str) -> Value {
        find(&self.built("demo").await, "Deployment", name).clone()
    }

    /// Creates a Pod, and returns it with the changes of the webhooks.
    pub(crate) async fn create(&self, pod: &Value) -> Value {
        let created = self.cluster.with_file("create -o json", &pod.to_string()).await.expect_exit(0);
        serde_json::from_str(&created.out).unwrap()
    }

    /// Runs the agent of a Pod, with the token that a kubelet requests for it.
    pub(crate) async fn run_sidecar(&self, pod: &Value, application: &Application) -> Program {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (name, namespace) = (text(&pod["metadata"]["name"]), text(&pod["metadata"]["namespace"]));
        let source = token_source(pod);
        let request = format!(
            "create token {} -n {namespace} --bound-object-kind Pod --bound-object-name {name} --audience {} \
             --duration {}s",
            text(&pod["spec"]["serviceAccountName"]),
            text(&source["audience"]),
            source["expirationSeconds"]
        );
        let token = self.cluster.admin(&request).await;
        let ca = serde_json::from_str(&self.cluster.admin(&format!("{CA} -o json")).await).unwrap();
        let provided = Provided { objects: &[ca], token: &token };
        run_sidecar(pod, &self.cluster.site.path(&name), provided, self.grpc, application)
    }
}

/// The command that reads the CA in the namespace of the demo.
const CA: &str = "get configmap headcount-ca -n headcount-demo";

#[track_caller]
fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found =
        objects.iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.next().unwrap_or_else(|| panic!("no {kind} {name}"))
}
