//! What differs from running a command to its end with exit code 0.

use super::block::Command;

/// How a command is run.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// To its end, with exit code 0.
    ToItsEnd,
    /// To its end, with this exit code.
    Exit(&'static str),
    /// Until this condition of the shell holds; then it is interrupted, as by Ctrl-C.
    Until(&'static str),
    /// In another terminal: the same, but it runs until the end of the document.
    Keep(&'static str),
    /// Another command runs to its end instead, for this reason.
    Instead { command: &'static str, reason: &'static str },
    /// Another command runs until a condition holds.
    InsteadUntil { command: &'static str, condition: &'static str, reason: &'static str },
    /// It is not run, for this reason.
    NotRun(&'static str),
}

/// An exception for one command.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) document: &'static str,
    /// The first line of the command, without its comment.
    pub(super) command: &'static str,
    pub(super) how: How,
    /// What the documented output contains, if the document has the same command several times.
    shows: &'static str,
    /// What its output contains.
    pub(super) prints: &'static [&'static str],
    /// Words of the documented output that differ each time.
    pub(super) variable: &'static [&'static str],
    /// What the text of the document asks the reader to do before it, or what it assumes.
    pub(super) before: &'static str,
    /// What the test waits for after it.
    pub(super) after: &'static str,
}

impl Rule {
    const fn new(document: &'static str, command: &'static str, how: How) -> Self {
        Self { document, command, how, shows: "", prints: &[], variable: &[], before: "", after: "" }
    }

    /// Whether this is the exception for a command.
    pub(super) fn matches(&self, document: &str, command: &Command) -> bool {
        let output = command.output.as_deref().unwrap_or_default();
        self.document == document && self.command == command.key() && output.contains(self.shows)
    }

    const fn prints(self, prints: &'static [&'static str]) -> Self {
        Self { prints, ..self }
    }

    const fn before(self, before: &'static str) -> Self {
        Self { before, ..self }
    }
}

const README: &str = "README.md";
const DATA_DIRECTORY: &str = "docs/data-directory.md";
const ENVOY: &str = "docs/envoy.md";
const GRPC: &str = "docs/grpc.md";
const IDENTITY: &str = "docs/identity.md";
const KUBERNETES: &str = "docs/kubernetes.md";
const MANIFESTS: &str = "deploy/kubernetes/README.md";
const METRICS: &str = "docs/metrics.md";

const TOKENS: &str = "docs/tokens.md";

const HEALTHY: &str = "headcount wait workload demo-workload --healthy 1 --timeout 1s >>\"$out\" 2>&1";

/// Blocks that are not run, by their first command.
pub(super) const NOT_RUN: &[(&str, &str, &str)] = &[
    (
        README,
        "cd deploy/kubernetes",
        "needs a cluster; tests/cluster runs the scripts and applies the manifests with a kube-apiserver",
    ),
    (
        MANIFESTS,
        "headcount backup --context cluster --output headcount.backup",
        "needs a cluster with nodes; tests/peers/manifests makes a backup of a server of the manifests",
    ),
    (
        MANIFESTS,
        r#"kubectl get configmap headcount-ca -n headcount-demo -o 'go-template={{index .data "ca.crt"}}' > ca.crt"#,
        "needs a cluster with nodes; tests/peers/manifests calls a server of the manifests with such flags",
    ),
    (
        MANIFESTS,
        "kubectl create secret generic headcount-prometheus -n headcount-system --from-file=token=prometheus.token",
        "needs a cluster with the Prometheus operator; tests/peers/manifests scrapes a server of the manifests",
    ),
    (
        MANIFESTS,
        "docker build -t REGISTRY/headcount:0.1.0 .",
        "needs a registry and a cluster with nodes; tests/cluster runs what needs none",
    ),
    (
        "docs/contexts.md",
        "headcount context set prod --server https://headcount.example.com:7100 \\",
        "needs a server of that name; cli::tests::context runs such commands",
    ),
    (
        "docs/envoy.md",
        "headcount envoy bootstrap --dataplane-file dp.yaml --control-plane https://headcount.mesh.svc:7100 \\",
        "needs a server of that name; tests/envoy validates such a bootstrap",
    ),
    (
        "docs/tls.md",
        "headcount serve --grpc-addr 0.0.0.0:7100 --tls-cert-file tls.crt --tls-key-file tls.key \\",
        "needs certificates of a CA; tests/peers/client_certificates.rs runs a server with them",
    ),
];

pub(super) const RULES: &[Rule] = &[
    Rule::new(
        "docs/tls.md",
        "headcount serve --tls-cert-file tls.crt --tls-key-file tls.key --insecure-allow-anonymous",
        How::Keep("curl -sf --cacert tls.crt -o /dev/null https://127.0.0.1:7101/readyz"),
    ),
    Rule::new(
        README,
        "cargo run --release -- serve --demo",
        How::InsteadUntil {
            command: "target/release/headcount serve --demo",
            condition: "printed web && printed nightly-batch",
            reason: "the binary is built already",
        },
    )
    .prints(&["Simulated proxies of three workloads", "NAMESPACE"]),
    Rule::new(README, "make test", How::NotRun("this test is a part of it")),
    Rule {
        after: "until curl -sf -o /dev/null 127.0.0.1:7101/readyz; do sleep 0.05; done",
        ..Rule::new(README, "sleep 1", How::ToItsEnd)
    },
    Rule::new(README, "headcount wait workload demo-workload --healthy 1", How::ToItsEnd)
        .prints(&["workload default/demo-workload: 1 connected, 1 healthy, 1 total"]),
    Rule::new(README, "kubectl get workloads", How::ToItsEnd).prints(&[
        "NAME            MESH      CONNECTED   HEALTHY   TOTAL   AGE",
        "demo-workload   default   1           1         1",
    ]),
    Rule::new(README, "kubectl describe workload demo-workload", How::ToItsEnd)
        .prints(&["Dataplane Proxies:", "Events:"]),
    Rule::new(
        README,
        "kubectl wait --for=jsonpath='{.status.dataplaneProxies.healthy}'=1 workload/demo-workload",
        How::ToItsEnd,
    )
    .prints(&["workload.kuma.io/demo-workload condition met"]),
    Rule::new(README, "kubectl get workloads -A -w", How::Until("printed demo-workload")),
    Rule::new(README, "grpcurl -plaintext 127.0.0.1:7100 list", How::ToItsEnd)
        .prints(&["headcount.v1.WorkloadService", "headcount.v1.DataplaneService"]),
    Rule::new(
        README,
        r#"grpcurl -plaintext -d '{"filter": {"label_selector": "kuma.io/mesh in (default)"}}' \"#,
        How::Until(r#"printed '"synced": true'"#),
    )
    .prints(&["demo-workload"]),
    Rule::new(
        README,
        "headcount envoy bootstrap --dataplane-file examples/dataplanes/demo-workload.yaml > headcount.yaml",
        How::ToItsEnd,
    )
    .before("kill %3"),
    Rule::new(README, "envoy -c headcount.yaml", How::Until(HEALTHY)),
    Rule::new(
        README,
        "curl -s http://127.0.0.1:7101/metrics | grep ^headcount_dataplane_proxies",
        How::ToItsEnd,
    )
    .prints(&["headcount_dataplane_proxies_healthy{", "workload=\"demo-workload\"} "]),
    Rule::new(
        README,
        "prometheus --config.file=examples/prometheus/prometheus.yml --storage.tsdb.path=/tmp/headcount-prometheus",
        How::InsteadUntil {
            command: "prometheus --config.file=examples/prometheus/prometheus.yml --storage.tsdb.path=prometheus",
            condition: "curl -s '127.0.0.1:9090/api/v1/query?query=headcount_workloads' | grep -q '\"1\"\\]'",
            reason: "a directory of the test",
        },
    ),
    Rule::new(
        README,
        "headcount simulate --proxies 10000 --workloads 100 --flaps 1000 --duration 30s",
        How::Instead {
            command: "headcount simulate --proxies 200 --workloads 20 --flaps 100 --duration 1s",
            reason: "a debug build shares the machine with other tests; `full_load` runs the command itself",
        },
    )
    .prints(&["lost sessions          0\n", "result                 right\n"]),
    Rule {
        variable: &["663"],
        ..Rule::new(DATA_DIRECTORY, "headcount backup --output headcount.backup", How::ToItsEnd).before(
            // Registrations are written behind.
            "until headcount backup --force --output first.backup 2>&1 | grep -q '3 entries'; do sleep 0.05; done",
        )
    },
    Rule::new(DATA_DIRECTORY, "headcount backup --data-dir data --output stopped.backup", How::ToItsEnd)
        .before("kill %1; wait %1")
        .prints(&["stopped.backup: 3 entries, "]),
    Rule {
        variable: &["2026-01-02T03:04:05Z"],
        ..Rule::new(DATA_DIRECTORY, "headcount restore --data-dir restored headcount.backup", How::ToItsEnd)
    },
    Rule {
        variable: &["110592"],
        ..Rule::new(DATA_DIRECTORY, "headcount store verify --data-dir restored", How::ToItsEnd)
    },
    Rule::new(DATA_DIRECTORY, "headcount store verify --data-dir data", How::ToItsEnd)
        .prints(&["data/registrations.redb: 1 dataplanes, 1 workloads, ", "no problems"]),
    Rule::new(ENVOY, "envoy -c headcount.yaml", How::Until(HEALTHY)),
    Rule::new(
        ENVOY,
        r#"envoy -c headcount.yaml --config-yaml "$(cat listeners.yaml)""#,
        How::Until("curl -sf -o /dev/null 127.0.0.1:10000/"),
    )
    .before(LISTENERS),
    Rule {
        shows: "DuplicateIdentity",
        ..Rule::new(
            ENVOY,
            "headcount get events",
            How::NotRun("needs two Envoys at another address; tests/envoy has the event"),
        )
    },
    Rule {
        shows: "DataplaneRefused",
        variable: &["4"],
        ..Rule::new(ENVOY, "headcount get events", How::ToItsEnd).before(
            "sed 's/protocol: .*/protocol: grpc/' headcount.yaml >refused.yaml; grep -q grpc refused.yaml\n\
             envoy -c refused.yaml >\"$out.envoy\" 2>&1 &\n\
             until headcount get events 2>&1 | grep -q DataplaneRefused; do sleep 0.05; done",
        )
    },
    Rule::new(
        GRPC,
        r#"(echo '{"hello": {"dataplane": {"mesh": "default", "name": "web-1", "labels": {"kuma.io/workload": "web"}, "inbounds": [{"port": 8080}]}}}'"#,
        How::Keep("printed '\"ack\"'"),
    ),
    Rule::new(
        GRPC,
        r#"grpcurl -plaintext -d '{"filter": {"label_selector": "kuma.io/mesh in (default)"}}' \"#,
        How::Until("printed resumeToken"),
    ),
    Rule::new(
        GRPC,
        r#"grpcurl -plaintext -d '{"keepalive_interval": "5s"}' 127.0.0.1:7100 headcount.v1.WorkloadService/WatchWorkloads"#,
        How::Until(r#"printed resumeToken && test "$(grep -c resumeToken "$out")" -gt 1"#),
    )
    .prints(&["keepaliveInterval"]),
    Rule::new(
        GRPC,
        r#"grpcurl -plaintext -d "{\"resume_token\": \"$TOKEN\"}" 127.0.0.1:7100 headcount.v1.WorkloadService/WatchWorkloads"#,
        How::Until(
            "headcount simulate --proxies 1 --workloads 1 --duration 1ms >\"$out.load\" 2>&1; printed sim-0",
        ),
    ),
    Rule::new(
        GRPC,
        r#"grpcurl -plaintext -d '{"name": "web", "minimum_healthy": 3, "timeout": "1s"}' \"#,
        // grpcurl adds 64 to the code.
        How::Exit("68"),
    ),
    Rule::new(
        GRPC,
        r#"grpcurl -plaintext -d '{"workload": "web"}' 127.0.0.1:7100 headcount.v1.DataplaneService/ListDataplanes"#,
        How::ToItsEnd,
    )
    .prints(&["\"name\": \"web-1\"", "\"connected\": true"]),
    Rule::new(KUBERNETES, "kubectl --kubeconfig headcount.kubeconfig get workloads -A", How::ToItsEnd)
        .prints(&["demo-workload"]),
    Rule::new(KUBERNETES, "kubectl delete workload demo-workload", How::Exit("1"))
        .before("export KUBECONFIG=headcount.kubeconfig"),
    Rule::new(KUBERNETES, "headcount serve --kube-api-group view.kuma.io", How::Keep("printed serving"))
        .before("kill %1; wait %1"),
    Rule::new(KUBERNETES, "kubectl get workloads.view.kuma.io -A", How::ToItsEnd)
        .before("rm -r ~/.kube/cache/discovery; headcount wait workload demo-workload --healthy 1")
        .prints(&["demo-workload"]),
    Rule::new(
        TOKENS,
        "headcount agent --dataplane-file examples/dataplanes/demo-workload.yaml --token-file demo.token",
        // Its application does not run.
        How::Keep("headcount wait workload demo-workload --connected 1 --timeout 1s >>\"$out\" 2>&1"),
    ),
    Rule { variable: &["1s"], ..Rule::new(TOKENS, "headcount get signing-keys", How::ToItsEnd) },
    Rule::new(TOKENS, "headcount revoke token --file demo.token", How::ToItsEnd).prints(&[" revoked\n"]),
    Rule::new(TOKENS, "headcount get revocations", How::ToItsEnd)
        .prints(&["TOKEN ", "5f0c1a5e-6d9c-4a50-9d5f-5c1f3a1b0d7e"]),
    Rule::new(
        IDENTITY,
        "headcount apply -f examples/mesh-identities/demo-workload.yaml",
        How::ToItsEnd,
    )
    .prints(&["meshidentity workload-identity created\n"]),
    Rule::new(IDENTITY, "headcount get meshidentities", How::ToItsEnd).prints(&["PartiallyReady"]),
    Rule::new(IDENTITY, "headcount get dataplanes -o wide", How::ToItsEnd)
        .prints(&["spiffe://example.com/workload/demo-workload\n"]),
    Rule::new(
        METRICS,
        "curl -s http://127.0.0.1:7101/metrics | grep ^headcount_dataplane_proxies",
        How::ToItsEnd,
    )
    .prints(&["headcount_dataplane_proxies_healthy{", "workload=\"demo-workload\"} 1\n"]),
];

/// Commands that a document assumes to have been run.
pub(super) fn setup(document: &str) -> String {
    let serve = "headcount serve >\"$out\" 2>\"$err\" &\n\
                 until curl -sf -o /dev/null 127.0.0.1:7101/readyz; do sleep 0.05; done\n";
    let application = "python3 -m http.server 8080 >\"$out.app\" 2>&1 &\n";
    let agent = "headcount agent --dataplane-file examples/dataplanes/demo-workload.yaml >\"$out.agent\" 2>&1 &\n\
                 headcount wait workload demo-workload --healthy 1\n";
    match document {
        README | "docs/tls.md" => String::new(),
        MANIFESTS => "cd deploy/kubernetes".to_owned(),
        DATA_DIRECTORY => {
            let serve = serve.replacen("headcount serve", "headcount serve --data-dir data", 1);
            format!("{serve}{application}{agent}")
        }
        ENVOY => format!("{serve}{application}"),
        IDENTITY | KUBERNETES | METRICS => format!("{serve}{application}{agent}"),
        TOKENS => serve.replacen("headcount serve", "headcount serve --data-dir data", 1),
        _ => serve.to_owned(),
    }
}

/// A listener that forwards to the application.
const LISTENERS: &str = r"cat >listeners.yaml <<END
static_resources:
  listeners:
    - name: http
      address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.tcp_proxy
              typed_config:
                '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
                stat_prefix: http
                cluster: application
  clusters:
    - name: application
      type: STATIC
      load_assignment:
        cluster_name: application
        endpoints:
          - lb_endpoints:
              - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8080}}}
END";
