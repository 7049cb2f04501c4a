//! Every response of the Kubernetes API can be parsed by Kubernetes clients, and none reports an internal
//! error; the webhook patches a Pod with a valid workload name, and with nothing else.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use headcount::{
    access::{Access, Policy},
    audit::{AccessControl, AuditLog},
    authentication::Trust,
    config::KubeSettings,
    kube::Kube,
    model::{AnonymousAccess, Dataplane, DataplaneLimits, DataplaneSpec, WORKLOAD_LABEL},
    registry::{Registry, RegistrySettings, Session},
    runtime::readiness::Readiness,
    telemetry::{
        metrics::{Listener, Metrics},
        readyz::ReadyChecks,
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    runtime::{Builder, Runtime},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use super::rules::{self, is_dns_1123_subdomain};

/// Bytes that fit into a connection: more than a response about three Workloads has.
const PIPE: usize = 1 << 20;
/// A response that pauses this long is a watch with nothing more to send. The clock is paused.
const QUIET: Duration = Duration::from_secs(1);

/// Input: a line with method and path, a line with the `Accept` header, and the body.
pub fn check(input: &[u8]) {
    thread_local!(static SERVER: TestServer = TestServer::start());
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let [request, accept, body] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    if [request, accept].iter().any(|line| line.contains(&b'\r')) {
        return;
    }
    let response = SERVER.with(|server| server.request(request, accept, body));
    let response = Response::parse(&response);
    if request.starts_with(b"HEAD ") {
        assert!(response.body.is_empty(), "{response:?}");
    } else if response.code == 200 {
        response.check_success();
        let webhook = [&b"POST /mutate-v1-pod"[..], b"POST /validate-v1-pod"];
        if webhook.iter().any(|webhook| request.starts_with(webhook)) {
            check_review(body, &response.json());
        }
    } else {
        response.check_failure();
    }
}

/// The Kubernetes API over a registry with a few Workloads, one of which is contested.
struct TestServer {
    runtime: Runtime,
    connect: mpsc::UnboundedSender<(DuplexStream, SocketAddr)>,
    _sessions: Vec<Session>,
}

impl TestServer {
    fn start() -> Self {
        let settings = RegistrySettings { first_revision: 1_000, ..RegistrySettings::default() };
        let registry = Registry::new(settings);
        let dataplanes = [
            ("default", "web", "w1"),
            ("default", "web", "w2"),
            ("default", "api", "a1"),
            ("other", "web", "o1"),
        ];
        let sessions = dataplanes.map(|(mesh, workload, name)| {
            let spec = DataplaneSpec {
                mesh: mesh.into(),
                name: name.into(),
                labels: BTreeMap::from([(WORKLOAD_LABEL.into(), workload.into())]),
                ..DataplaneSpec::default()
            };
            let dataplane = Dataplane::parse(&spec, DataplaneLimits::default()).expect("a valid dataplane");
            super::connect(&registry, dataplane)
        });
        let metrics = Metrics::new(&registry).expect("metrics");
        let mut settings = KubeSettings::default();
        settings.admission.workload_labels = vec!["app".parse().expect("a key")];
        settings.admission.one_mesh_per_namespace = true;
        let checks = ReadyChecks::new(Readiness::default(), &registry);
        let access = Access::new(Policy::default(), SystemTime::now);
        let authenticator = Trust::without_credentials(access.clone()).listener(AnonymousAccess::Full);
        let control =
            AccessControl::new(Listener::Kube, authenticator, metrics.refused.clone(), AuditLog::default());
        let kube = Kube::new(&registry, &settings, &metrics, checks, control, CancellationToken::new());
        let kube = kube.expect("the settings name no files");
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let (connect, incoming) = mpsc::unbounded_channel();
        runtime.spawn(kube.serve(UnboundedReceiverStream::new(incoming)));
        Self { runtime, connect, _sessions: sessions.into() }
    }

    /// Sends a request; returns the response up to the end of the connection or a pause.
    fn request(&self, request: &[u8], accept: &[u8], body: &[u8]) -> Vec<u8> {
        let (mut client, server) = duplex(PIPE);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        self.connect.send((server, peer)).expect("the server runs");
        let length = body.len().to_string();
        let parts: [&[u8]; 7] = [
            request,
            b" HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: ",
            accept,
            b"\r\ncontent-length: ",
            length.as_bytes(),
            b"\r\n\r\n",
            body,
        ];
        self.runtime.block_on(async {
            client.write_all(&parts.concat()).await.expect("the request fits");
            let mut response = Vec::new();
            while let Ok(Ok(1..)) = timeout(QUIET, client.read_buf(&mut response)).await {}
            drop(client);
            // Lets the server close its end before the next request.
            sleep(QUIET).await;
            response
        })
    }
}

#[derive(Debug)]
struct Response<'a> {
    code: u16,
    content_type: &'a str,
    body: &'a [u8],
}

impl<'a> Response<'a> {
    fn parse(response: &'a [u8]) -> Self {
        let end = response.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no response: {}", String::from_utf8_lossy(response)));
        let head = str::from_utf8(&response[..end]).expect("headers are text");
        // A request that cannot be parsed is rejected with the server's own version.
        let rest = head.strip_prefix("HTTP/1.0 ").or_else(|| head.strip_prefix("HTTP/1.1 "));
        let code = rest.and_then(|rest| rest.get(..3)?.parse().ok());
        let code = code.unwrap_or_else(|| panic!("no status code: {head}"));
        let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: "));
        Self { code, content_type: content_type.unwrap_or_default(), body: &response[end + 4..] }
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body is a JSON document, or complete lines of a watch.
    #[track_caller]
    fn check_success(&self) {
        if self.content_type != "application/json" || serde_json::from_slice::<Value>(self.body).is_ok() {
            return;
        }
        assert!(self.body.is_empty() || self.body.ends_with(b"\n"), "{self:?}");
        for line in self.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let event: Value = serde_json::from_slice(line).expect("a line is JSON");
            assert!(event["type"].is_string() && event["object"].is_object(), "{event}");
        }
    }

    /// The body is a `Status`, unless the HTTP server itself has rejected the request.
    #[track_caller]
    fn check_failure(&self) {
        let by_http_server = matches!(self.code, 301 | 400 | 414 | 431) && self.body.is_empty();
        // kube-apiserver's HTTP server answers these in plain text, before any handler.
        let plain = [(404, &b"404 page not found\n"[..]), (400, b"400 Bad Request: malformed path\n")];
        if by_http_server || plain.contains(&(self.code, self.body)) {
            return;
        }
        let status = self.json();
        let text = |field| status[field].as_str().unwrap_or_default();
        assert_eq!((text("kind"), &status["code"]), ("Status", &json!(self.code)), "{self:?}");
        // 504 is what kube-apiserver answers for a resourceVersion in the future.
        let internal = self.code >= 500 && (self.code, text("reason")) != (504, "Timeout");
        assert!(!internal, "{self:?}");
        assert_message(text("message"));
    }
}

#[track_caller]
fn check_review(sent: &[u8], received: &Value) {
    // A review may be nested more deeply than `Value` can be parsed.
    let Ok(sent) = serde_json::from_slice::<Value>(sent) else { return };
    let (request, response) = (&sent["request"], &received["response"]);
    assert_eq!(received["kind"], "AdmissionReview");
    assert_eq!(response["uid"], request["uid"]);
    if response["allowed"] == false {
        assert!(response.get("patch").is_none(), "{response}");
        let message = response["status"]["message"].as_str().expect("a reason");
        assert_message(message);
    }
    if let Some(patch) = response["patch"].as_str() {
        assert_eq!(response["patchType"], "JSONPatch");
        let patch: Value = serde_json::from_slice(&STANDARD.decode(patch).expect("base64")).expect("a patch");
        let name = patch[patch.as_array().map_or(0, Vec::len) - 1]["value"].as_str().unwrap_or_default();
        assert!(is_dns_1123_subdomain(name), "{patch}");
        let add = |path: &str, value: Value| json!({"op": "add", "path": path, "value": value});
        let all = add("/metadata/annotations", json!({}));
        let one = add("/metadata/annotations/kuma.io~1workload", json!(name));
        let annotated = request["object"]["metadata"]["annotations"].is_object();
        assert_eq!(patch, if annotated { json!([one]) } else { json!([all, one]) });
    }
}

#[track_caller]
fn assert_message(message: &str) {
    assert!(!message.is_empty() && rules::is_short_text(message, rules::LONGEST_MESSAGE), "{message:?}");
}
