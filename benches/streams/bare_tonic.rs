//! The baseline: a minimal tonic server with the messages and paths of headcount. It acknowledges the reports
//! of a session, relays them to all watchers, or both. Codec, buffers and flow-control windows are tonic's
//! defaults.

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
            WatchWorkloadsResponse, dataplane_service_server::SERVICE_NAME as DATAPLANE_SERVICE,
            workload_service_server::SERVICE_NAME as WORKLOAD_SERVICE,
        },
        session_request::Message as FromClient,
        session_response::Message as ToClient,
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

use crate::{bare_tls, security::Security};

/// Messages that a watcher may lag behind: many seconds of them, so that none is lost.
const CHANNEL_CAPACITY: usize = 16_384;

/// What the server does with a report.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// Acknowledges it.
    Ack,
    /// Sends a delta to every watcher.
    Relay,
    RelayAndAck,
}

type Future<T> = Pin<Box<dyn std::future::Future<Output = T> + Send>>;
type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Deltas = broadcast::Sender<WatchWorkloadsResponse>;

/// Serves on the current runtime until it ends; returns the bound address.
pub(crate) async fn start(
    addr: SocketAddr,
    mode: Mode,
    keepalive: bool,
    security: Option<Security>,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let (deltas, _) = broadcast::channel(CHANNEL_CAPACITY);
    let (acks, relays) = match mode {
        Mode::Ack => (true, false),
        Mode::Relay => (false, true),
        Mode::RelayAndAck => (true, true),
    };
    let limits = Limits::default();
    let server = Server::builder()
        .http2_keepalive_interval(keepalive.then_some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        .add_service(Dataplanes { acks, deltas: relays.then(|| deltas.clone()) })
        .add_service(Workloads(deltas));
    match security {
        // As headcount does, so that Nagle's algorithm does not delay small messages.
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            tokio::spawn(server.serve_with_incoming(incoming));
        }
        Some(security) => {
            let incoming = bare_tls::incoming(listener, security.server_config()?);
            tokio::spawn(server.serve_with_incoming(incoming));
        }
    }
    Ok(addr)
}

#[derive(Debug, Clone)]
struct Dataplanes {
    acks: bool,
    /// None if reports are not relayed.
    deltas: Option<Deltas>,
}

impl StreamingService<SessionRequest> for Dataplanes {
    type Response = SessionResponse;
    type ResponseStream = Responses<SessionResponse>;
    type Future = Future<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<SessionRequest>>) -> Self::Future {
        let session =
            Session { requests: request.into_inner(), service: self.clone(), workload: Bytes::new() };
        let responses = stream::try_unfold(session, |mut session| async move {
            let next = session.next_response().await?;
            Ok(next.map(|message| (SessionResponse { message: Some(message) }, session)))
        });
        Box::pin(async { Ok(Response::new(Box::pin(responses) as Self::ResponseStream)) })
    }
}

struct Session {
    requests: Streaming<SessionRequest>,
    service: Dataplanes,
    workload: Bytes,
}

impl Session {
    /// The next response; none if the session is over.
    async fn next_response(&mut self) -> Result<Option<ToClient>, Status> {
        while let Some(request) = self.requests.message().await? {
            match request.message {
                Some(FromClient::Hello(hello)) => {
                    self.workload = encoded_workload(&hello);
                    self.relay(0);
                    return Ok(Some(ToClient::Welcome(Welcome::default())));
                }
                Some(FromClient::Health(HealthReport { sequence, .. })) => {
                    self.relay(sequence);
                    if self.service.acks {
                        return Ok(Some(ToClient::Ack(HealthAck { sequence })));
                    }
                }
                _ => break,
            }
        }
        Ok(None)
    }

    fn relay(&self, sequence: u64) {
        if let Some(deltas) = &self.service.deltas {
            // Fails if there is no watcher.
            let _receivers = deltas.send(delta(self.workload.clone(), sequence));
        }
    }
}

#[derive(Debug, Clone)]
struct Workloads(Deltas);

impl ServerStreamingService<WatchWorkloadsRequest> for Workloads {
    type Response = WatchWorkloadsResponse;
    type ResponseStream = Responses<WatchWorkloadsResponse>;
    type Future = Future<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _request: Request<WatchWorkloadsRequest>) -> Self::Future {
        let ready = WatchWorkloadsResponse { reset: true, synced: true, ..WatchWorkloadsResponse::default() };
        let responses = stream::unfold((Some(ready), self.0.subscribe()), |(first, mut deltas)| async move {
            let next = match first {
                Some(first) => Ok(first),
                None => deltas.recv().await.map_err(|e| Status::internal(e.to_string())),
            };
            Some((next, (None, deltas)))
        });
        Box::pin(async { Ok(Response::new(Box::pin(responses) as Self::ResponseStream)) })
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

/// The Workload that headcount would send, encoded.
fn encoded_workload(hello: &Hello) -> Bytes {
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

impl NamedService for Dataplanes {
    const NAME: &'static str = DATAPLANE_SERVICE;
}

impl NamedService for Workloads {
    const NAME: &'static str = WORKLOAD_SERVICE;
}

impl Service<http::Request<Body>> for Dataplanes {
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

impl Service<http::Request<Body>> for Workloads {
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
