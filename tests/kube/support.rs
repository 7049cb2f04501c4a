//! A server for one test, and its HTTP client.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::FutureExt as _;
use headcount::{
    app::App,
    config::{Config, KubeSettings},
    model::{
        Dataplane, DataplaneLimits, DataplaneSpec, Environment, Health, HealthReport, HealthState,
        WORKLOAD_LABEL,
    },
    registry::{ConnectOptions, Registry, Session},
};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

pub(crate) use crate::http_response::{HttpResponse, soon};

pub(crate) const WORKLOADS: &str = "/apis/kuma.io/v1alpha1/workloads";
pub(crate) const IN_DEFAULT: &str = "/apis/kuma.io/v1alpha1/namespaces/default/workloads";
pub(crate) const EVENTS: &str = "/api/v1/namespaces/default/events";

/// The `Accept` header of `kubectl get`.
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,\
                         application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

/// A running server, in the process of the test.
pub(crate) struct Server {
    pub(crate) app: App,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// Starts a server with changed settings.
    pub(crate) async fn with(set: impl FnOnce(&mut Config)) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let kube = KubeSettings { addr: Some(any), ..KubeSettings::default() };
        let mut config = Config { grpc_addr: any, http_addr: any, kube, ..Config::default() };
        // In Kubernetes, resource version 0 means any.
        config.registry.first_revision = 1_000;
        // Every report and every connect takes effect at once, however many there are.
        config.registry.max_session_rate = usize::MAX;
        config.registry.flap_interval = Duration::ZERO;
        set(&mut config);
        Self { app: soon("start", App::start(config)).await.expect("the server starts") }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.app.addresses().kube.expect("an address of the Kubernetes API")
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.app.registry()
    }

    /// Connects a gateway in mesh and namespace `default`. The dataplane is named after the
    /// workload and the number.
    pub(crate) fn join(&self, workload: &str, number: usize) -> Session {
        self.join_in("default", "default", workload, number)
    }

    pub(crate) fn join_in(&self, mesh: &str, namespace: &str, workload: &str, number: usize) -> Session {
        self.join_as(&DataplaneSpec {
            mesh: mesh.into(),
            namespace: namespace.into(),
            name: format!("{workload}-{number}"),
            ..pod(workload)
        })
    }

    /// Connects a gateway of a zone.
    pub(crate) fn join_zone(&self, zone: &str, workload: &str, number: usize) -> Session {
        let name = format!("{workload}-{number}");
        self.join_as(&DataplaneSpec { mesh: "default".into(), name, zone: zone.into(), ..pod(workload) })
    }

    fn join_as(&self, spec: &DataplaneSpec) -> Session {
        let dataplane = Dataplane::parse(spec, DataplaneLimits::default()).expect("a dataplane");
        let options = ConnectOptions::new(Duration::MAX);
        let connected = self.registry().connect(dataplane, options).now_or_never();
        connected.expect("no throttle").expect("no limit is reached").session
    }

    pub(crate) fn head(&self) -> u64 {
        self.registry().head()
    }

    pub(crate) async fn get(&self, path: &str) -> HttpResponse {
        self.get_as(path, "application/json").await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> HttpResponse {
        self.request(Method::GET, path, &[("accept", accept)], "").await
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> HttpResponse {
        HttpResponse::read(path, self.send(method, path, headers, body).await).await
    }

    /// Sends the request until a connection is accepted: that of a request that has just ended may
    /// still count towards the limit.
    pub(crate) async fn get_with_retries(&self, path: &str) -> HttpResponse {
        let headers = [("accept", "application/json")];
        soon(path, async {
            loop {
                if let Ok(response) = self.try_send(Method::GET, path, &headers, "").await {
                    return HttpResponse::read(path, response).await;
                }
            }
        })
        .await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> http::Response<Incoming> {
        soon(path, self.try_send(method, path, headers, body)).await.expect("a response")
    }

    async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> hyper::Result<http::Response<Incoming>> {
        let io = soon("connect", TcpStream::connect(self.addr())).await.expect("the server listens");
        let (mut client, connection) = http1::handshake(TokioIo::new(io)).await.expect("an HTTP handshake");
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", self.addr().to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("a valid request");
        client.send_request(request).await
    }

    /// Starts a watch, and waits for the headers of its response.
    pub(crate) async fn watch(&self, path: &str) -> Watch {
        self.watch_as(path, "application/json").await
    }

    pub(crate) async fn watch_as(&self, path: &str, accept: &str) -> Watch {
        let response = self.send(Method::GET, path, &[("accept", accept)], "").await;
        assert_eq!(response.status(), 200, "{path}");
        Watch { path: path.to_owned(), body: response.into_body(), buffer: BytesMut::new() }
    }
}

/// Reports the health of a gateway.
pub(crate) fn report(session: &mut Session, sequence: u64, ready: bool) {
    let state = if ready { HealthState::Ready } else { HealthState::NotReady };
    session.report(HealthReport { sequence, health: Health::of_proxy(state) });
}

/// The response of a watch.
pub(crate) struct Watch {
    path: String,
    body: Incoming,
    buffer: BytesMut,
}

impl Watch {
    /// Reads the next line; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                return Some(serde_json::from_slice(&line).expect("JSON"));
            }
            let Some(frame) = soon(&self.path, self.body.frame()).await else {
                assert!(self.buffer.is_empty(), "an incomplete line: {:?}", self.buffer);
                return None;
            };
            self.buffer.extend(frame.expect("a complete body").into_data().expect("data"));
        }
    }

    /// Reads the next event.
    pub(crate) async fn event(&mut self) -> WatchEvent {
        WatchEvent::parse(&self.next().await.expect("an event"))
    }

    /// Asserts that the watch ends without a further line.
    pub(crate) async fn assert_ends(&mut self) {
        let more = self.next().await;
        assert!(more.is_none(), "{more:?}");
    }
}

/// The parts of a watch event that tests compare.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatchEvent {
    pub(crate) r#type: String,
    pub(crate) name: String,
    pub(crate) revision: u64,
    /// Connected, healthy, total.
    pub(crate) counts: [u64; 3],
}

impl WatchEvent {
    pub(crate) fn parse(event: &Value) -> Self {
        let object = &event["object"];
        let revision = object["metadata"]["resourceVersion"].as_str().unwrap_or("0");
        let counts = &object["status"]["dataplaneProxies"];
        Self {
            r#type: event["type"].as_str().expect("a type").to_owned(),
            name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            revision: revision.parse().expect("a revision"),
            counts: ["connected", "healthy", "total"].map(|of| counts[of].as_u64().unwrap_or_default()),
        }
    }
}

/// Builds an expected event.
fn pod(workload: &str) -> DataplaneSpec {
    DataplaneSpec {
        environment: Environment::Kubernetes,
        labels: BTreeMap::from([(WORKLOAD_LABEL.into(), workload.into())]),
        ..DataplaneSpec::default()
    }
}

pub(crate) fn watch_event(r#type: &str, name: &str, revision: u64, counts: [u64; 3]) -> WatchEvent {
    WatchEvent { r#type: r#type.into(), name: name.into(), revision, counts }
}

/// Returns the names of a list's items.
#[track_caller]
pub(crate) fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|item| item["metadata"]["name"].as_str().expect("a name")).collect()
}
