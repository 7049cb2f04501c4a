//! The client commands against the real server, over TCP.

use std::{net::SocketAddr, path::PathBuf};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Outcome, run};
use crate::{
    app::App,
    config::{Config, KubeSettings},
    proto::{
        Dataplane, HealthReport, HealthState, Hello, SessionRequest, SessionResponse,
        dataplane_service_client::DataplaneServiceClient, session_request::Message,
    },
};

async fn start() -> (App, String) {
    start_with(None).await
}

pub(super) async fn start_with(data_dir: Option<PathBuf>) -> (App, String) {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let kube = KubeSettings { addr: None, ..KubeSettings::default() };
    let config = Config { grpc_addr: loopback, http_addr: loopback, kube, data_dir, ..Config::default() };
    let app = App::start(config).await.unwrap();
    let server = format!("--server {}", app.addresses().grpc);
    (app, server)
}

/// A healthy gateway proxy of the workload `web`, connected until dropped.
pub(super) struct Proxy {
    _requests: mpsc::Sender<SessionRequest>,
    _responses: Streaming<SessionResponse>,
}

impl Proxy {
    pub(super) async fn connect(app: &App, name: &str) -> Self {
        let url = format!("http://{}", app.addresses().grpc);
        let (requests, receiver) = mpsc::channel(2);
        let dataplane = Dataplane {
            mesh: "default".into(),
            name: name.into(),
            labels: [("kuma.io/workload".to_owned(), "web".to_owned())].into(),
            ..Dataplane::default()
        };
        let health =
            HealthReport { sequence: 1, proxy: HealthState::Ready.into(), ..HealthReport::default() };
        let hello = Hello { dataplane: Some(dataplane), ..Hello::default() };
        for message in [Message::Hello(hello), Message::Health(health)] {
            let request = SessionRequest { message: Some(message) };
            requests.send(request).await.unwrap();
        }
        let mut client = DataplaneServiceClient::connect(url).await.unwrap();
        let responses = client.session(ReceiverStream::new(receiver)).await.unwrap();
        Self { _requests: requests, _responses: responses.into_inner() }
    }
}

#[tokio::test]
async fn all_client_commands_work_with_the_real_server() {
    let (app, server) = start().await;
    let empty = run(&format!("get workloads {server}")).await;
    assert_eq!(empty.err, "No workloads found in default namespace.\n");

    let _proxies = [Proxy::connect(&app, "web-1").await, Proxy::connect(&app, "web-2").await];
    let healthy = run(&format!("wait workload web --healthy 2 {server}")).await;
    assert_eq!(healthy.result.unwrap(), Outcome::Success);
    assert_eq!(healthy.out, "workload default/web: 2 connected, 2 healthy, 2 total\n");

    let yaml = run(&format!("get workload web -o yaml {server}")).await.out;
    assert!(yaml.ends_with("    connected: 2\n    healthy: 2\n    total: 2\n"), "{yaml}");
    let proxies = run(&format!("get dataplanes --workload web {server}")).await.out;
    assert_eq!(proxies.lines().count(), 3, "{proxies}");
    let events = run(&format!("get events -A {server}")).await;
    assert_eq!(events.err, "No events found.\n");

    let timed_out = run(&format!("wait workload web --healthy 3 --timeout 1ms {server}")).await;
    assert_eq!(timed_out.result.unwrap(), Outcome::Negative);
    assert!(timed_out.err.contains("2 healthy"), "no current counts: {}", timed_out.err);
    let missing = run(&format!("get workload api {server}")).await;
    assert_eq!(missing.result.unwrap(), Outcome::Negative);
    app.drain().await;
}

#[tokio::test]
async fn a_wait_may_take_longer_than_one_request() {
    let (app, server) = start().await;
    let timed_out = run(&format!("wait workload web --healthy 1 --timeout 5100ms {server}")).await;
    assert_eq!(timed_out.result.unwrap(), Outcome::Negative);
    let report = "timed out after 5s 100ms: workload default/web: wanted 1 healthy; has 0 connected";
    assert!(timed_out.err.starts_with(report), "{}", timed_out.err);
    app.drain().await;
}
