//! The server and the agents of the manifests, started as a kubelet starts them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    Manifests,
    cluster::{ISSUER, JWKS, copied_ca, issue_certificate, pod_token},
    find, settings,
};
use crate::{
    prometheus::Prometheus,
    support::{
        Application, Ended, Program, Provided, container, headcount, peer, pod_of, run_sidecar, script,
        token_source,
    },
};

const HOST: &str = "headcount.headcount-system.svc";

/// The server of an overlay, which accepts the tokens of [`pod_token`], and those of the users in the README
/// of the manifests.
struct Running {
    manifests: Manifests,
    objects: Vec<Value>,
    grpc: SocketAddr,
    http: SocketAddr,
    ca: PathBuf,
    _server: Program,
}

impl Running {
    /// None if kubectl is missing.
    async fn start(overlay: &str) -> Option<Self> {
        let manifests = Manifests::new().await?;
        create_users(&manifests).await;
        let mut objects = manifests.build(overlay).await;
        issue_certificate(&mut objects);
        // There is no kube-apiserver here; tests/cluster has one.
        objects.push(json!({
            "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": ""},
        }));
        let access = objects.iter_mut().find(|object| object["metadata"]["name"] == "headcount-access");
        let access = &mut access.unwrap()["data"]["access.yaml"];
        let text = access.as_str().unwrap();
        assert!(text.contains("\nserviceAccountTokens: {}\n"), "{text}");
        let keys = format!("serviceAccountTokens: {{issuer: '{ISSUER}', jwksFile: {JWKS}}}");
        *access = text.replace("serviceAccountTokens: {}", &keys).into();

        let pod = pod_of(find(&objects, "Deployment", "headcount"), "headcount");
        let provided = Provided { objects: &objects, token: "" };
        let mut server =
            container(&pod, &pod["spec"]["containers"][0], &manifests.site.path("server"), provided);
        // The addresses of the manifest, which are not on loopback, with other ports.
        for (listener, setting) in [("grpc", "grpcAddr"), ("http", "httpAddr"), ("kube-api", "kubeApiAddr")] {
            let mut address: SocketAddr = settings(&objects)[setting].as_str().unwrap().parse().unwrap();
            assert!(address.ip().is_unspecified(), "{address}");
            address.set_port(0);
            server.arg(format!("--{listener}-addr={address}"));
        }
        let addresses = manifests.site.path("addresses.json");
        server.arg("--addresses-file").arg(&addresses);
        let server = Program::start(&mut server);
        server.wait_for_stderr("serving").await;
        let addresses: Value = serde_json::from_slice(&fs::read(addresses).unwrap()).unwrap();
        let address = |of: &str| {
            let address: SocketAddr = addresses[of].as_str().unwrap().parse().unwrap();
            SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
        };
        let (grpc, http) = (address("grpc"), address("http"));
        let ca = manifests.site.file("ca.crt", copied_ca(&objects)["data"]["ca.crt"].as_str().unwrap());
        Some(Self { manifests, objects, grpc, http, ca, _server: server })
    }

    /// Runs a client command, with a token if there is one.
    async fn run(&self, arguments: &str, token: Option<&Path>) -> Ended {
        let mut command = headcount(&format!(
            "{arguments} --server https://{} --tls-server-name {HOST} --ca-file {}",
            self.grpc,
            self.ca.display()
        ));
        if let Some(token) = token {
            command.arg("--token-file").arg(token);
        }
        Program::start(&mut command).end().await
    }

    /// The file with the token of `alice`, an operator, or of `prometheus`, as the README creates them.
    fn token_of(&self, user: &str) -> PathBuf {
        self.manifests.path(&format!("{user}.token"))
    }

    /// Issues a token of another user with the key of the README.
    async fn issue(&self, user: &str) -> PathBuf {
        let key = self.manifests.path("users.key");
        let mut token = headcount(&format!(
            "generate user-token --signing-key-file {} --kid 1 --valid-for 1h {user}",
            key.display()
        ));
        let token = Program::start(&mut token).end().await.expect_exit(0).out;
        self.manifests.site.file("user.token", &token)
    }

    /// Runs the agent of a Pod of the demo, with a token for the Pod `token_of`.
    fn agent(&self, mut pod: Value, token_of: &str, application: &Application) -> Program {
        pod["status"] = json!({"podIP": "10.1.2.3"});
        let mut other = pod.clone();
        other["metadata"]["name"] = token_of.into();
        let token = pod_token(&other, token_source(&pod));
        let provided = Provided { objects: &[copied_ca(&self.objects)], token: &token };
        let name = format!("{}-{token_of}", pod["metadata"]["name"].as_str().unwrap());
        run_sidecar(&pod, &self.manifests.site.path(&name), provided, self.grpc, application)
    }

    /// The status code of a GET as a kubelet sends it: without a credential, for any certificate.
    async fn status(&self, path: &str) -> String {
        let mut curl = Command::new("curl");
        curl.args(["-sSk", "-o", "/dev/null", "-w", "%{http_code}", &format!("https://{}{path}", self.http)]);
        Program::start(&mut curl).end().await.expect_exit(0).out
    }
}

/// Runs the commands of the README that create the key and the tokens of users.
async fn create_users(manifests: &Manifests) {
    let text = fs::read_to_string(manifests.path("README.md")).unwrap();
    let (_, block) = text.split_once("```sh\nheadcount generate signing-key").expect("the commands");
    let (block, _) = block.split_once("```").unwrap();
    let here = manifests.path("");
    let commands = format!("set -e\ncd {}\nheadcount generate signing-key{block}", here.display());
    let commands = manifests.site.file("users.sh", &commands);
    let mut bash = script(Path::new("bash"), &[]);
    Program::start(bash.arg(commands)).end().await.expect_exit(0);
}

#[tokio::test]
async fn the_agents_of_the_demo_register_with_the_tokens_of_their_pods() {
    for overlay in ["self-signed", "cert-manager", "persistent"] {
        let Some(running) = Running::start(overlay).await else { return };
        let demo = running.manifests.build("demo").await;
        let application = Application::start(running.manifests.site.any_port());
        for (name, workload) in [("demo-app", "demo-workload"), ("backend", "backend")] {
            let mut pod = pod_of(find(&demo, "Deployment", name), name);
            if name == "backend" {
                // The mutating webhook adds this annotation.
                pod["metadata"]["annotations"] = json!({"kuma.io/workload": workload});
            }
            let _agent = running.agent(pod.clone(), name, &application);
            let wait = format!("wait workload {workload} -n headcount-demo --healthy 1");
            running.run(&wait, Some(&running.token_of("prometheus"))).await.expect_exit(0);
            let other = running.agent(pod, "other", &application);
            other.wait_for_stderr("is different than in ServiceAccount token: other").await;
        }
    }
}

#[tokio::test]
async fn only_the_users_of_the_access_file_read_and_only_operators_write() {
    let Some(running) = Running::start("persistent").await else { return };
    let backup = |name| format!("backup --output {}", running.manifests.site.path(name).display());
    let denied = running.run("get workloads -A", None).await.expect_exit(2);
    denied.expect_stderr(&["authentication is required"]);
    let eve = running.issue("--name eve").await;
    let denied = running.run("get workloads -A", Some(&eve)).await.expect_exit(2);
    denied.expect_stderr(&["\"eve\" has no permission to read workloads"]);
    let bob = running.issue("--name bob --group headcount-viewers").await;
    for viewer in [running.token_of("prometheus"), bob] {
        running.run("get workloads -A", Some(&viewer)).await.expect_exit(0);
        let denied = running.run(&backup("viewer"), Some(&viewer)).await.expect_exit(2);
        denied.expect_stderr(&["no permission"]);
    }
    running.run(&backup("operator"), Some(&running.token_of("alice"))).await.expect_exit(0);
}

#[tokio::test]
async fn a_kubelet_probes_without_a_credential_and_prometheus_scrapes_with_its_token() {
    let Some(program) = peer("prometheus") else { return };
    let Some(running) = Running::start("self-signed").await else { return };
    let pod = &find(&running.objects, "Deployment", "headcount")["spec"]["template"]["spec"];
    for probe in ["readinessProbe", "livenessProbe"] {
        let get = &pod["containers"][0][probe]["httpGet"];
        assert_eq!((&get["scheme"], &get["port"]), (&json!("HTTPS"), &json!("http")));
        assert_eq!(running.status(get["path"].as_str().unwrap()).await, "200", "{probe}");
    }
    assert_eq!(running.status("/metrics").await, "401");

    let monitoring = running.manifests.build("monitoring").await;
    let endpoint = &find(&monitoring, "PodMonitor", "headcount")["spec"]["podMetricsEndpoints"][0];
    // What the Prometheus operator writes for the PodMonitor.
    let job = json!({
        "job_name": "headcount", "scheme": endpoint["scheme"], "metrics_path": endpoint["path"],
        "tls_config": {"ca_file": running.ca, "server_name": endpoint["tlsConfig"]["serverName"]},
        "authorization": {"credentials_file": running.token_of("prometheus")},
        "static_configs": [{"targets": [running.http.to_string()]}],
    });
    let config = json!({"global": {"scrape_interval": "200ms"}, "scrape_configs": [job]}).to_string();
    let prometheus = Prometheus::start_with(program, &running.manifests.site, &config).await;
    prometheus.wait_for("up", ["job", ""], &[(["headcount", ""], "1")]).await;
}

#[tokio::test]
async fn clients_that_have_the_previous_certificate_or_the_next_one_trust_the_server() {
    let Some(running) = Running::start("self-signed").await else { return };
    running.manifests.make_certificate().await;
    let next = running.manifests.build("self-signed").await;
    let ca = copied_ca(&next)["data"]["ca.crt"].as_str().unwrap().to_owned();
    assert_eq!(ca.matches("BEGIN CERTIFICATE").count(), 2);
    let viewer = running.token_of("prometheus");
    // The server has not got the new Secret yet.
    fs::write(&running.ca, &ca).unwrap();
    running.run("get workloads -A", Some(&viewer)).await.expect_exit(0);
    running.manifests.make_certificate().await;
    let last = copied_ca(&running.manifests.build("self-signed").await);
    let last = last["data"]["ca.crt"].as_str().unwrap();
    assert_eq!(last.matches("BEGIN CERTIFICATE").count(), 2, "not the one before the previous");
    fs::write(&running.ca, last).unwrap();
    running.run("get workloads -A", Some(&viewer)).await.expect_exit(2).expect_stderr(&["certificate"]);
}
