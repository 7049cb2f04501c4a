//! A server of one test, and whoever asks it.

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

pub(crate) use crate::http_response::{Answer, soon};

pub(crate) const WORKLOADS: &str = "/apis/kuma.io/v1alpha1/workloads";
pub(crate) const IN_DEFAULT: &str = "/apis/kuma.io/v1alpha1/namespaces/default/workloads";
pub(crate) const EVENTS: &str = "/api/v1/namespaces/default/events";

/// What kubectl accepts where it prints a table.
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,\
                         application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

/// A running server.
pub(crate) struct Server {
    pub(crate) app: App,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// With some settings of the test's own.
    pub(crate) async fn with(set: impl FnOnce(&mut Config)) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let kube = KubeSettings { addr: Some(any), ..KubeSettings::default() };
        let mut config = Config { grpc_addr: any, http_addr: any, kube, ..Config::default() };
        // So that "now" is not 0, which in Kubernetes means "any".
        config.registry.first_revision = 1_000;
        // Every report and every connect takes effect at once, however many there are.
        config.registry.max_session_rate = usize::MAX;
        config.registry.flap_interval = Duration::ZERO;
        set(&mut config);
        Self { app: soon("start", App::start(config)).await.expect("it starts") }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.app.addresses().kube.expect("it is served")
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.app.registry()
    }

    /// A session of a gateway of mesh and namespace `default`; the dataplane is
    /// named after the workload and a number.
    pub(crate) fn join(&self, workload: &str, number: usize) -> Session {
        self.join_in("default", "default", workload, number)
    }

    pub(crate) fn join_in(&self, mesh: &str, namespace: &str, workload: &str, number: usize) -> Session {
        let spec = DataplaneSpec {
            mesh: mesh.into(),
            namespace: namespace.into(),
            name: format!("{workload}-{number}"),
            environment: Environment::Kubernetes,
            labels: BTreeMap::from([(WORKLOAD_LABEL.into(), workload.into())]),
            ..DataplaneSpec::default()
        };
        let dataplane = Dataplane::parse(&spec, DataplaneLimits::default()).expect("a dataplane");
        let options = ConnectOptions::new(Duration::MAX);
        let connected = self.registry().connect(dataplane, options).now_or_never();
        connected.expect("no throttle, no wait").expect("room").session
    }

    pub(crate) fn head(&self) -> u64 {
        self.registry().head()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_as(path, "application/json").await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.ask(Method::GET, path, &[("accept", accept)], "").await
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        Answer::read(path, self.send(method, path, headers, body).await).await
    }

    /// Asks again while there is no place for a connection: the place of one that has
    /// just ended is free a moment later.
    pub(crate) async fn get_when_there_is_room(&self, path: &str) -> Answer {
        let headers = [("accept", "application/json")];
        soon(path, async {
            loop {
                if let Ok(response) = self.try_send(Method::GET, path, &headers, "").await {
                    return Answer::read(path, response).await;
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
        soon(path, self.try_send(method, path, headers, body)).await.expect("an answer")
    }

    async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> hyper::Result<http::Response<Incoming>> {
        let io = soon("connect", TcpStream::connect(self.addr())).await.expect("it listens");
        let (mut client, connection) = http1::handshake(TokioIo::new(io)).await.expect("HTTP");
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", self.addr().to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request");
        client.send_request(request).await
    }

    /// Opens a watch; its headers have come.
    pub(crate) async fn watch(&self, path: &str) -> Lines {
        self.watch_as(path, "application/json").await
    }

    pub(crate) async fn watch_as(&self, path: &str, accept: &str) -> Lines {
        let response = self.send(Method::GET, path, &[("accept", accept)], "").await;
        assert_eq!(response.status(), 200, "{path}");
        Lines { path: path.to_owned(), body: response.into_body(), read: BytesMut::new() }
    }
}

/// Reports the health of a session's gateway.
pub(crate) fn report(session: &mut Session, sequence: u64, ready: bool) {
    let state = if ready { HealthState::Ready } else { HealthState::NotReady };
    session.report(HealthReport { sequence, health: Health::of_proxy(state) });
}

/// A watch.
pub(crate) struct Lines {
    path: String,
    body: Incoming,
    read: BytesMut,
}

impl Lines {
    /// The next event; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end);
                self.read.advance(1);
                return Some(serde_json::from_slice(&line).expect("a line of JSON"));
            }
            let Some(frame) = soon(&self.path, self.body.frame()).await else {
                assert!(self.read.is_empty(), "half a line: {:?}", self.read);
                return None;
            };
            self.read.extend(frame.expect("a whole body").into_data().expect("data"));
        }
    }

    /// The next event, which there is, in short.
    pub(crate) async fn event(&mut self) -> Told {
        Told::of(&self.next().await.expect("an event"))
    }

    pub(crate) async fn ends(&mut self) {
        let more = self.next().await;
        assert!(more.is_none(), "{more:?}");
    }
}

/// What a watch says, in short.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    pub(crate) r#type: String,
    pub(crate) name: String,
    pub(crate) revision: u64,
    /// Connected, healthy, total.
    pub(crate) counts: [u64; 3],
}

impl Told {
    pub(crate) fn of(event: &Value) -> Self {
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

/// An event as a test expects it.
pub(crate) fn told(r#type: &str, name: &str, revision: u64, counts: [u64; 3]) -> Told {
    Told { r#type: r#type.into(), name: name.into(), revision, counts }
}

/// Names of a list's items.
#[track_caller]
pub(crate) fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|item| item["metadata"]["name"].as_str().expect("a name")).collect()
}
