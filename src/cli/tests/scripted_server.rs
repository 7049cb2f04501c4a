//! For tests: a server that answers as it is told, and resources to tell it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message;
use prost_types::Timestamp;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream, transport::Server};

use crate::proto::{
    self, server,
    server::{
        dataplane_service_server::{DataplaneService, DataplaneServiceServer},
        event_service_server::{EventService, EventServiceServer},
        workload_service_server::{WorkloadService, WorkloadServiceServer},
    },
};

/// What is answered to the calls of one method, and what was asked.
#[derive(Debug)]
pub(in crate::cli) struct Script<Q, A> {
    answers: Mutex<VecDeque<Result<A, Status>>>,
    asked: Mutex<Vec<Q>>,
}

impl<Q, A> Default for Script<Q, A> {
    fn default() -> Self {
        Self { answers: Mutex::default(), asked: Mutex::default() }
    }
}

impl<Q: Clone, A> Script<Q, A> {
    /// Adds the answer to one more call.
    pub(in crate::cli) fn answer(&self, answer: Result<A, Status>) {
        self.answers.lock().unwrap().push_back(answer);
    }

    /// What has been asked so far.
    pub(in crate::cli) fn asked(&self) -> Vec<Q> {
        self.asked.lock().unwrap().clone()
    }

    fn call(&self, request: Request<Q>) -> Result<A, Status> {
        self.asked.lock().unwrap().push(request.into_inner());
        let next = self.answers.lock().unwrap().pop_front();
        next.unwrap_or_else(|| Err(Status::unimplemented("not in the script")))
    }
}

/// The messages of a stream; it ends after them.
pub(in crate::cli) type Messages<T> = Vec<Result<T, Status>>;

/// A server that answers by scripts.
#[derive(Debug, Default)]
pub(in crate::cli) struct Fake {
    pub(in crate::cli) get: Script<proto::GetWorkloadRequest, proto::GetWorkloadResponse>,
    pub(in crate::cli) list: Script<proto::ListWorkloadsRequest, proto::ListWorkloadsResponse>,
    pub(in crate::cli) watch: Script<proto::WatchWorkloadsRequest, Messages<proto::WatchWorkloadsResponse>>,
    pub(in crate::cli) wait: Script<proto::WaitForWorkloadRequest, proto::WaitForWorkloadResponse>,
    pub(in crate::cli) dataplanes: Script<proto::ListDataplanesRequest, proto::ListDataplanesResponse>,
    pub(in crate::cli) events: Script<proto::ListEventsRequest, proto::ListEventsResponse>,
    pub(in crate::cli) watch_events: Script<proto::WatchEventsRequest, Messages<proto::WatchEventsResponse>>,
}

impl Fake {
    /// Serves on a free port of loopback until the test's runtime ends.
    pub(in crate::cli) async fn serve(self: &Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder()
            .add_service(WorkloadServiceServer::from_arc(self.clone()))
            .add_service(DataplaneServiceServer::from_arc(self.clone()))
            .add_service(EventServiceServer::from_arc(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        address
    }
}

/// From the message of clients to the one of servers: the same on the wire.
fn to_server<T: Message + Default>(message: &impl Message) -> T {
    T::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn stream<T: Send + 'static>(messages: Messages<T>) -> Response<BoxStream<T>> {
    Response::new(Box::pin(tokio_stream::iter(messages)))
}

#[tonic::async_trait]
impl WorkloadService for Fake {
    type WatchWorkloadsStream = BoxStream<proto::Encoded>;

    async fn get_workload(
        &self,
        request: Request<proto::GetWorkloadRequest>,
    ) -> Result<Response<server::GetWorkloadResponse>, Status> {
        self.get.call(request).map(|answer| Response::new(to_server(&answer)))
    }

    async fn list_workloads(
        &self,
        request: Request<proto::ListWorkloadsRequest>,
    ) -> Result<Response<server::ListWorkloadsResponse>, Status> {
        self.list.call(request).map(|answer| Response::new(to_server(&answer)))
    }

    async fn watch_workloads(
        &self,
        request: Request<proto::WatchWorkloadsRequest>,
    ) -> Result<Response<Self::WatchWorkloadsStream>, Status> {
        let messages = self.watch.call(request)?.into_iter();
        let encoded = |message: proto::WatchWorkloadsResponse| proto::Encoded(message.encode_to_vec().into());
        Ok(stream(messages.map(|message| message.map(encoded)).collect()))
    }

    async fn wait_for_workload(
        &self,
        request: Request<proto::WaitForWorkloadRequest>,
    ) -> Result<Response<server::WaitForWorkloadResponse>, Status> {
        self.wait.call(request).map(|answer| Response::new(to_server(&answer)))
    }
}

#[tonic::async_trait]
impl DataplaneService for Fake {
    type SessionStream = BoxStream<proto::SessionResponse>;

    async fn session(
        &self,
        _: Request<Streaming<proto::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        Err(Status::unimplemented("no proxies here"))
    }

    async fn list_dataplanes(
        &self,
        request: Request<proto::ListDataplanesRequest>,
    ) -> Result<Response<proto::ListDataplanesResponse>, Status> {
        self.dataplanes.call(request).map(Response::new)
    }
}

#[tonic::async_trait]
impl EventService for Fake {
    type WatchEventsStream = BoxStream<proto::WatchEventsResponse>;

    async fn list_events(
        &self,
        request: Request<proto::ListEventsRequest>,
    ) -> Result<Response<proto::ListEventsResponse>, Status> {
        self.events.call(request).map(Response::new)
    }

    async fn watch_events(
        &self,
        request: Request<proto::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        self.watch_events.call(request).map(stream)
    }
}

/// Seconds of the epoch in 2033, so that ages in golden texts do not depend on
/// the day.
const NOW: i64 = 2_000_000_000;

/// The time at which the resources below are 5 minutes old.
pub(in crate::cli) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs())
}

const FIVE_MINUTES_AGO: Option<Timestamp> = Some(Timestamp { seconds: NOW - 300, nanos: 0 });

/// A Workload all of whose proxies are healthy.
pub(in crate::cli) fn workload(name: &str, proxies: u32) -> proto::Workload {
    let counts = proto::DataplaneProxies { connected: proxies, healthy: proxies, total: proxies };
    proto::Workload {
        name: name.into(),
        namespace: "default".into(),
        mesh: "default".into(),
        uid: format!("uid-of-{name}"),
        labels: [("kuma.io/mesh".to_owned(), "default".to_owned())].into(),
        creation_time: FIVE_MINUTES_AGO,
        revision: 7,
        status: Some(proto::WorkloadStatus {
            dataplane_proxies: Some(counts),
            last_transition_time: FIVE_MINUTES_AGO,
        }),
    }
}

/// A whole step of a watch.
pub(in crate::cli) fn step(
    upserted: Vec<proto::Workload>,
    resume_token: &str,
) -> proto::WatchWorkloadsResponse {
    proto::WatchWorkloadsResponse {
        upserted,
        synced: true,
        resume_token: resume_token.into(),
        ..proto::WatchWorkloadsResponse::default()
    }
}

/// A healthy dataplane of workload `web` with two inbounds, one ready.
pub(in crate::cli) fn dataplane(name: &str) -> proto::DataplaneOverview {
    let http = [("kuma.io/protocol".to_owned(), "http".to_owned())];
    let ready = proto::HealthState::Ready.into();
    proto::DataplaneOverview {
        dataplane: Some(proto::Dataplane {
            mesh: "default".into(),
            namespace: "default".into(),
            name: name.into(),
            labels: [("kuma.io/workload".to_owned(), "web".to_owned())].into(),
            address: "10.0.0.1".into(),
            inbounds: vec![
                proto::Inbound { port: 80, name: "http".into(), tags: http.into() },
                proto::Inbound { port: 81, ..proto::Inbound::default() },
            ],
            ..proto::Dataplane::default()
        }),
        workload: Some(proto::WorkloadRef { name: "web".into(), ..proto::WorkloadRef::default() }),
        connected: true,
        healthy: true,
        health: Some(proto::HealthReport {
            sequence: 1,
            proxy: ready,
            inbounds: vec![proto::InboundHealth { port: 80, state: ready }],
        }),
        last_transition_time: FIVE_MINUTES_AGO,
        agent_version: "1.0.0".into(),
        session_id: "s1".into(),
    }
}

/// A warning about workload `web`.
pub(in crate::cli) fn event(uid: &str, count: u64, message: &str) -> proto::Event {
    proto::Event {
        uid: uid.into(),
        r#type: proto::EventType::Warning.into(),
        reason: "MultipleMeshesDetected".into(),
        message: message.into(),
        regarding: Some(proto::WorkloadRef {
            name: "web".into(),
            namespace: "default".into(),
            ..proto::WorkloadRef::default()
        }),
        count,
        first_time: FIVE_MINUTES_AGO,
        last_time: FIVE_MINUTES_AGO,
        dataplane: String::new(),
    }
}
