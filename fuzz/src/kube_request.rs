//! Whatever is asked at the Kubernetes address is answered in a form that
//! Kubernetes' clients can read, and no answer says that the server has failed;
//! a Pod is patched with a name that it can have, and with nothing else.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use headcount::{
    config::KubeSettings,
    kube::Kube,
    model::{Dataplane, DataplaneLimits, DataplaneSpec, WORKLOAD_LABEL},
    registry::{Registry, RegistrySettings, Session},
    runtime::readiness::Readiness,
    telemetry::metrics::Metrics,
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

/// What a connection holds: more than an answer about three Workloads has.
const PIPE: usize = 1 << 20;
/// Nothing comes for so long: it is a watch, and all is told. The clock is not real.
const QUIET: Duration = Duration::from_secs(1);

/// Takes a method and a path, what is accepted, a line each, and a body.
pub fn check(input: &[u8]) {
    thread_local!(static DESK: Desk = Desk::open());
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let [request, accept, body] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    if [request, accept].iter().any(|line| line.contains(&b'\r')) {
        return;
    }
    let answer = DESK.with(|desk| desk.ask(request, accept, body));
    let answer = Answer::read(&answer);
    if request.starts_with(b"HEAD ") {
        assert!(answer.body.is_empty(), "{answer:?}");
    } else if answer.code == 200 {
        answer.check_success();
        let webhook = [&b"POST /mutate-v1-pod"[..], b"POST /validate-v1-pod"];
        if webhook.iter().any(|webhook| request.starts_with(webhook)) {
            check_review(body, &answer.json());
        }
    } else {
        answer.check_failure();
    }
}

/// A server of a few Workloads, one of them contested.
struct Desk {
    runtime: Runtime,
    arrive: mpsc::UnboundedSender<(DuplexStream, SocketAddr)>,
    _sessions: Vec<Session>,
}

impl Desk {
    fn open() -> Self {
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
            let dataplane = Dataplane::parse(&spec, DataplaneLimits::default()).expect("it is lawful");
            super::connect(&registry, dataplane)
        });
        let metrics = Metrics::new(&registry).expect("metrics have names");
        let mut settings = KubeSettings::default();
        settings.admission.workload_labels = vec!["app".parse().expect("a key")];
        settings.admission.one_mesh_per_namespace = true;
        let kube = Kube::new(&registry, &settings, &metrics, Readiness::default(), CancellationToken::new());
        let kube = kube.expect("no files are needed");
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let (arrive, arrivals) = mpsc::unbounded_channel();
        runtime.spawn(kube.serve(UnboundedReceiverStream::new(arrivals)));
        Self { runtime, arrive, _sessions: sessions.into() }
    }

    /// All that is answered, until the connection ends or says nothing more.
    fn ask(&self, request: &[u8], accept: &[u8], body: &[u8]) -> Vec<u8> {
        let (mut client, server) = duplex(PIPE);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        self.arrive.send((server, peer)).expect("it serves");
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
            client.write_all(&parts.concat()).await.expect("it fits");
            let mut answer = Vec::new();
            while let Ok(Ok(1..)) = timeout(QUIET, client.read_buf(&mut answer)).await {}
            drop(client);
            // Until the server has noticed.
            sleep(QUIET).await;
            answer
        })
    }
}

#[derive(Debug)]
struct Answer<'a> {
    code: u16,
    content_type: &'a str,
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    fn read(answer: &'a [u8]) -> Self {
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(answer)));
        let head = str::from_utf8(&answer[..end]).expect("a head is text");
        // What could not be read as 1.0 is refused as the server's own version.
        let rest = head.strip_prefix("HTTP/1.0 ").or_else(|| head.strip_prefix("HTTP/1.1 "));
        let code = rest.and_then(|rest| rest.get(..3)?.parse().ok());
        let code = code.unwrap_or_else(|| panic!("no code: {head}"));
        let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: "));
        Self { code, content_type: content_type.unwrap_or_default(), body: &answer[end + 4..] }
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A document, or whole lines of a watch.
    #[track_caller]
    fn check_success(&self) {
        if self.content_type != "application/json" || serde_json::from_slice::<Value>(self.body).is_ok() {
            return;
        }
        assert!(self.body.is_empty() || self.body.ends_with(b"\n"), "{self:?}");
        for line in self.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let event: Value = serde_json::from_slice(line).expect("a line is a document");
            assert!(event["type"].is_string() && event["object"].is_object(), "{event}");
        }
    }

    /// What Kubernetes' clients understand; HTTP's own refusals say nothing.
    #[track_caller]
    fn check_failure(&self) {
        let of_http = matches!(self.code, 301 | 400 | 414 | 431) && self.body.is_empty();
        if of_http || (self.code, self.body) == (404, b"404 page not found\n") {
            return;
        }
        let status = self.json();
        let text = |field| status[field].as_str().unwrap_or_default();
        assert_eq!((text("kind"), &status["code"]), ("Status", &json!(self.code)), "{self:?}");
        // Kubernetes' code for what has not happened yet.
        let ours = self.code >= 500 && (self.code, text("reason")) != (504, "Timeout");
        assert!(!ours, "{self:?}");
        assert_fit(text("message"));
    }
}

#[track_caller]
fn check_review(question: &[u8], answer: &Value) {
    // It may go deeper than a reader of documents goes.
    let Ok(question) = serde_json::from_slice::<Value>(question) else { return };
    let (request, response) = (&question["request"], &answer["response"]);
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(response["uid"], request["uid"]);
    if response["allowed"] == false {
        assert!(response.get("patch").is_none(), "{response}");
        let message = response["status"]["message"].as_str().expect("a reason");
        assert_fit(message);
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
fn assert_fit(message: &str) {
    assert!(!message.is_empty() && rules::is_short_text(message, rules::LONGEST_MESSAGE), "{message:?}");
}
