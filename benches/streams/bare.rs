//! The least that a server can do with tonic: it takes what a session says, and
//! answers it, or hands it on to whoever watches, as its job is. Messages and
//! paths are those of headcount; codec, buffers and windows are what tonic has
//! by default.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use headcount::{
    config::Limits,
    proto::{
        self, HealthAck, HealthReport, Hello, SessionRequest, SessionResponse, WatchWorkloadsRequest,
        Welcome,
        server::{
            WatchWorkloadsResponse, dataplane_service_server::SERVICE_NAME as SESSIONS,
            workload_service_server::SERVICE_NAME as WATCHES,
        },
        session_request::Message as Said,
        session_response::Message as Answer,
    },
};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::broadcast};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    server::{Grpc, NamedService, ServerStreamingService, StreamingService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::Service;

/// Messages that a watcher may be behind: many seconds' worth, so none is lost.
const BEHIND: usize = 16_384;

/// What it does with a report.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Nothing but an ack.
    Echo,
    /// Every watcher gets it.
    Relay,
    /// Both.
    RelayAndEcho,
}

type Future<T> = Pin<Box<dyn std::future::Future<Output = T> + Send>>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type News = broadcast::Sender<WatchWorkloadsResponse>;

/// Serves on the current runtime, without end.
pub(crate) async fn start(addr: SocketAddr, job: Job, keepalive: bool) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let (news, _) = broadcast::channel(BEHIND);
    // Without this, small messages wait for each other: the same as headcount does.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let (acks, relays) = match job {
        Job::Echo => (true, false),
        Job::Relay => (false, true),
        Job::RelayAndEcho => (true, true),
    };
    let limits = Limits::default();
    let server = Server::builder()
        .http2_keepalive_interval(keepalive.then_some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        .add_service(Sessions { acks, news: relays.then(|| news.clone()) })
        .add_service(Watches(news))
        .serve_with_incoming(incoming);
    tokio::spawn(server);
    Ok(addr)
}

#[derive(Debug, Clone)]
struct Sessions {
    acks: bool,
    /// None if it does not relay.
    news: Option<News>,
}

impl StreamingService<SessionRequest> for Sessions {
    type Response = SessionResponse;
    type ResponseStream = Answers<SessionResponse>;
    type Future = Future<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<SessionRequest>>) -> Self::Future {
        let visit = Visit { said: request.into_inner(), desk: self.clone(), workload: Bytes::new() };
        let answers = stream::try_unfold(visit, |mut visit| async move {
            Ok(visit.answer().await?.map(|answer| (SessionResponse { message: Some(answer) }, visit)))
        });
        Box::pin(async { Ok(Response::new(Box::pin(answers) as Self::ResponseStream)) })
    }
}

/// One session.
struct Visit {
    said: Streaming<SessionRequest>,
    desk: Sessions,
    workload: Bytes,
}

impl Visit {
    /// What to say next; nothing if the session is over.
    async fn answer(&mut self) -> Result<Option<Answer>, Status> {
        while let Some(request) = self.said.message().await? {
            match request.message {
                Some(Said::Hello(hello)) => {
                    self.workload = like_headcounts(&hello);
                    self.tell(0);
                    return Ok(Some(Answer::Welcome(Welcome::default())));
                }
                Some(Said::Health(HealthReport { sequence, .. })) => {
                    self.tell(sequence);
                    if self.desk.acks {
                        return Ok(Some(Answer::Ack(HealthAck { sequence })));
                    }
                }
                _ => break,
            }
        }
        Ok(None)
    }

    fn tell(&self, sequence: u64) {
        if let Some(news) = &self.desk.news {
            // It fails if nobody watches.
            let _receivers = news.send(delta(self.workload.clone(), sequence));
        }
    }
}

#[derive(Debug, Clone)]
struct Watches(News);

impl ServerStreamingService<WatchWorkloadsRequest> for Watches {
    type Response = WatchWorkloadsResponse;
    type ResponseStream = Answers<WatchWorkloadsResponse>;
    type Future = Future<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _request: Request<WatchWorkloadsRequest>) -> Self::Future {
        let ready = WatchWorkloadsResponse { reset: true, synced: true, ..WatchWorkloadsResponse::default() };
        let deltas = stream::unfold((Some(ready), self.0.subscribe()), |(first, mut news)| async move {
            let next = match first {
                Some(first) => Ok(first),
                None => news.recv().await.map_err(|e| Status::internal(e.to_string())),
            };
            Some((next, (None, news)))
        });
        Box::pin(async { Ok(Response::new(Box::pin(deltas) as Self::ResponseStream)) })
    }
}

/// A delta of the size that headcount sends.
fn delta(workload: Bytes, sequence: u64) -> WatchWorkloadsResponse {
    WatchWorkloadsResponse {
        upserted: vec![workload],
        synced: true,
        revision: sequence + 1,
        resume_token: "r1.0123456789abcdef.1000.0123456789abcdef".into(),
        ..WatchWorkloadsResponse::default()
    }
}

/// The Workload that headcount would tell of, encoded once.
fn like_headcounts(hello: &Hello) -> Bytes {
    let dataplane = hello.dataplane.clone().unwrap_or_default();
    let now = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_456_789 };
    let label = |key: &str| dataplane.labels.get(key).cloned().unwrap_or_default();
    let workload = proto::Workload {
        name: label("kuma.io/workload"),
        namespace: dataplane.namespace,
        mesh: dataplane.mesh.clone(),
        uid: "01234567-89ab-cdef-0123-456789abcdef".into(),
        labels: [
            ("kuma.io/mesh", dataplane.mesh.as_str()),
            ("kuma.io/managed-by", "workload-generator"),
            ("kuma.io/env", "universal"),
            ("kuma.io/zone", &dataplane.zone),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into(),
        creation_time: Some(now),
        revision: 1_000,
        status: Some(proto::WorkloadStatus {
            dataplane_proxies: Some(proto::DataplaneProxies { connected: 1, healthy: 1, total: 1 }),
            last_transition_time: Some(now),
        }),
    };
    workload.encode_to_vec().into()
}

impl NamedService for Sessions {
    const NAME: &'static str = SESSIONS;
}

impl NamedService for Watches {
    const NAME: &'static str = WATCHES;
}

impl Service<http::Request<Body>> for Sessions {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Future<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async { Ok(Grpc::new(ProstCodec::default()).streaming(this, request).await) })
    }
}

impl Service<http::Request<Body>> for Watches {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Future<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async { Ok(Grpc::new(ProstCodec::default()).server_streaming(this, request).await) })
    }
}
