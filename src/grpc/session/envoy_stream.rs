//! One stream of Envoy's Health Discovery Service.
//!
//! As in `agent_stream`, the response stream is the whole session. The server responds
//! once, with what to check, and then only reads.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::{task::coop::consume_budget, time::Instant};
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::warn;

use super::{
    End, StreamClient,
    active::{ActiveSession, SessionEvent},
    admission::SessionAdmission,
};
use crate::{
    config::Limits,
    envoy::{
        checks::CheckSettings,
        node::{self, Proxy},
        stream_health::{BadReport, StreamHealth},
    },
    grpc::status::malformed,
    model::{Attempt, HealthReport, Namespace},
    proto::envoy::{
        config::core::v3::Node,
        service::health::v3::{
            HealthCheckSpecifier, server::health_discovery_service_server::HealthDiscoveryService,
        },
    },
    registry::{Client, ConnectOptions, IdlePolicy, RetryBehavior, events::UnknownProxy},
};

/// The shortest idle timeout. A busy host may pause for nearly as long.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Reports in a row that an Envoy may miss before it counts as lost.
const MISSED_REPORTS: u32 = 3;

/// The service.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct Envoys {
    pub(in crate::grpc) admission: SessionAdmission,
    pub(in crate::grpc) limits: Arc<Limits>,
    pub(in crate::grpc) checks: CheckSettings,
}

#[tonic::async_trait]
impl HealthDiscoveryService for Envoys {
    type StreamHealthCheckStream = Pin<Box<dyn Stream<Item = Result<HealthCheckSpecifier, Status>> + Send>>;

    async fn stream_health_check(
        &self,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Self::StreamHealthCheckStream>, Status> {
        let (service, client) = (self.clone(), StreamClient::of(&request)?);
        self.admission.check_rate(client.peer(), RetryBehavior::IgnoresRetryAfter)?;
        let stream = EnvoyStream { service, client, inbound: request.into_inner(), phase: Phase::Opening };
        let responses = stream::unfold(stream, |mut stream| async {
            let response = stream.next().await?;
            Some((response, stream))
        });
        Ok(Response::new(Box::pin(responses)))
    }
}

/// The state of one stream.
struct EnvoyStream {
    service: Envoys,
    client: StreamClient,
    inbound: Streaming<Bytes>,
    phase: Phase,
}

#[expect(clippy::large_enum_variant, reason = "nearly all are open, and a box would cost them more")]
enum Phase {
    /// The node is awaited.
    Opening,
    /// The session is open.
    Open(CheckedSession),
    /// The stream has ended.
    Ended,
}

/// An open session and what its Envoy has reported so far.
struct CheckedSession {
    session: ActiveSession,
    health: StreamHealth,
    /// Reports that changed something.
    sequence: u64,
}

impl EnvoyStream {
    /// The next response: what to check, or the end.
    async fn next(&mut self) -> Option<Result<HealthCheckSpecifier, Status>> {
        let end = match std::mem::replace(&mut self.phase, Phase::Ended) {
            // Boxed, so that it does not stay in the memory of each quiet session.
            Phase::Opening => match Box::pin(self.open()).await {
                Ok(specifier) => return Some(Ok(specifier)),
                Err(end) => end,
            },
            Phase::Open(session) => self.run(session).await,
            Phase::Ended => End::WithoutStatus,
        };
        match end {
            End::Status(status) => Some(Err(status)),
            End::WithoutStatus => None,
        }
    }

    /// Waits for the node and admits its Envoy.
    async fn open(&mut self) -> Result<HealthCheckSpecifier, End> {
        let Envoys { admission, limits, .. } = &self.service;
        let first = admission.first_message("node", limits.hello_timeout, self.inbound.message()).await?;
        let (proxy, rejected) = match first {
            Ok(Some(first)) => match node::read(&first) {
                Ok(node) => {
                    // It is large and no longer needed.
                    drop(first);
                    match self.connect(&node).await {
                        Ok(specifier) => return Ok(specifier),
                        Err(status) => (Some(node::unknown_proxy(&node)), status),
                    }
                }
                Err(invalid) => {
                    self.record_unnamed_rejection(&invalid.to_string());
                    (None, invalid.into())
                }
            },
            Ok(None) => return Err(End::WithoutStatus),
            Err(status) => (None, malformed(&status).ok_or(End::WithoutStatus)?),
        };
        let name = proxy.as_ref().map(UnknownProxy::name);
        self.service.admission.on_rejected(self.client.peer(), name, &rejected);
        Err(rejected.into())
    }

    /// Records an event about an Envoy whose node could not be read, under its address.
    fn record_unnamed_rejection(&self, reason: &str) {
        let address = self.client.peer().map_or_else(|| "unknown".to_owned(), |peer| peer.ip().to_string());
        let proxy = UnknownProxy::new(Namespace::default(), &address);
        self.service.admission.record_rejection(proxy, &self.client, reason.to_owned());
    }

    async fn connect(&mut self, node: &Node) -> Result<HealthCheckSpecifier, Status> {
        let Envoys { admission, limits, checks: settings } = &self.service;
        let proxy = Proxy::parse(node, limits.dataplane);
        let Proxy { dataplane, checks } = proxy.inspect_err(|invalid| {
            admission.record_rejection(node::unknown_proxy(node), &self.client, invalid.to_string());
        })?;
        let timeout = (MISSED_REPORTS * settings.report_interval.get()).max(MIN_IDLE_TIMEOUT);
        let options = ConnectOptions {
            client: Client { attempt: Attempt::default(), peer: self.client.peer() },
            retry: RetryBehavior::IgnoresRetryAfter,
            // An Envoy that has just started is busy with more than its reports.
            idle: IdlePolicy { timeout, startup_grace: limits.hello_timeout },
            caller: None,
        };
        let admitted = admission.admit(dataplane, options, &self.client).await;
        let (session, warnings) = admitted.inspect_err(|status| {
            if status.code() == Code::PermissionDenied {
                admission.record_rejection(
                    node::unknown_proxy(node),
                    &self.client,
                    status.message().to_owned(),
                );
            }
        })?;
        for warning in warnings {
            // Logged here, because an Envoy shows its user nothing.
            warn!(session = %session.id(), dataplane = %session.dataplane().key, "{warning}");
        }
        let health = StreamHealth::new(&checks, settings, Instant::now());
        self.phase = Phase::Open(CheckedSession { session, health, sequence: 0 });
        Ok(checks.specifier(settings))
    }

    /// Reads reports until the session ends.
    async fn run(&mut self, CheckedSession { mut session, mut health, mut sequence }: CheckedSession) -> End {
        loop {
            // A client that never pauses may not starve the other tasks of this worker.
            consume_budget().await;
            let message = match session.next(self.inbound.message()).await {
                SessionEvent::Message(message) => message,
                SessionEvent::Flushed(_) => continue,
                SessionEvent::Notice(notice) => return session.on_notice(notice).into(),
                SessionEvent::Aged => return session.on_aged().into(),
                SessionEvent::RightEnded(ended) => return session.on_right_ended(ended).into(),
            };
            let rejected = match message {
                Ok(Some(report)) => match health.report(report, Instant::now()) {
                    Ok(Some(health)) => {
                        sequence += 1;
                        session.report(HealthReport { sequence, health });
                        continue;
                    }
                    Ok(None) => {
                        session.touch();
                        continue;
                    }
                    Err(bad) => rejection(&bad),
                },
                Ok(None) => return End::WithoutStatus,
                Err(status) => match malformed(&status) {
                    Some(rejected) => rejected,
                    None => return End::WithoutStatus,
                },
            };
            session.reject(&rejected);
            return rejected.into();
        }
    }
}

fn rejection(bad: &BadReport) -> Status {
    match bad {
        BadReport::Undecodable(_) => Status::invalid_argument(bad.to_string()),
        BadReport::SecondRequest => Status::failed_precondition(bad.to_string()),
    }
}
