//! A well-behaved client that runs during every abuse: a proxy that keeps changing its health, and a
//! watch that must show each change.

use std::time::{Duration, Instant};

use headcount::proto::{
    HealthReport, HealthState, SessionRequest, SessionResponse,
    dataplane_service_client::DataplaneServiceClient, session_request::Message,
    session_response::Message as Response,
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::support::{DEADLINE, Server, dataplane, hello};

/// The proxy and the watch; they run until [`stop`](Self::stop).
pub(crate) struct BackgroundClient {
    stop: CancellationToken,
    task: JoinHandle<(Deliveries, Proxy)>,
}

/// The changes that the proxy reported and the watch showed.
#[derive(Debug)]
pub(crate) struct Deliveries {
    pub(crate) changes: u64,
    /// Longest time from a report to its ack and to the watch that shows it.
    pub(crate) slowest: Duration,
}

impl BackgroundClient {
    /// Connects the proxy, and waits until the watch shows it.
    pub(crate) async fn start(server: &Server) -> Self {
        let mut watch = server.watch("background").await;
        let mut proxy = Proxy::connect(server).await;
        watch.until(Some([1, 0, 1])).await;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut deliveries = Deliveries { changes: 0, slowest: Duration::ZERO };
            // The last state is healthy.
            while !stopped.is_cancelled() || deliveries.changes.is_multiple_of(2) {
                deliveries.changes += 1;
                let start = Instant::now();
                proxy.report(deliveries.changes).await;
                watch.until(Some([1, u32::from(deliveries.changes % 2 == 1), 1])).await;
                deliveries.slowest = deliveries.slowest.max(start.elapsed());
            }
            (deliveries, proxy)
        });
        Self { stop, task }
    }

    /// Stops the changes. The proxy stays connected and healthy while the returned value lives.
    pub(crate) async fn stop(self) -> (Deliveries, Proxy) {
        self.stop.cancel();
        self.task.await.expect("the watch has shown every change")
    }
}

/// An open session; it ends when this is dropped.
pub(crate) struct Proxy {
    requests: mpsc::Sender<SessionRequest>,
    responses: Streaming<SessionResponse>,
}

impl Proxy {
    async fn connect(server: &Server) -> Self {
        let (requests, stream) = mpsc::channel(1);
        let hello = hello(dataplane("default", "background", "background"));
        requests.try_send(SessionRequest { message: Some(hello) }).expect("an empty channel");
        let mut client = DataplaneServiceClient::new(server.connect().await);
        let responses = client.session(ReceiverStream::new(stream)).await.expect("a session").into_inner();
        let mut proxy = Self { requests, responses };
        assert!(matches!(proxy.next_response().await, Response::Welcome(_)));
        proxy
    }

    /// Reports the proxy as ready in odd sequences, as not ready in even ones, and waits for the ack.
    async fn report(&mut self, sequence: u64) {
        let state = if sequence % 2 == 1 { HealthState::Ready } else { HealthState::NotReady };
        let report = HealthReport { sequence, proxy: state.into(), ..HealthReport::default() };
        let report = SessionRequest { message: Some(Message::Health(report)) };
        self.requests.send(report).await.expect("an open session");
        match self.next_response().await {
            Response::Ack(ack) => assert_eq!(ack.sequence, sequence),
            other => panic!("expected an ack, got {other:?}"),
        }
    }

    async fn next_response(&mut self) -> Response {
        let response = timeout(DEADLINE, self.responses.message()).await.expect("a response in time");
        response.expect("an open session").and_then(|response| response.message).expect("a response")
    }
}
