//! An Envoy's stream: its Health Discovery Service, behind the same reception as
//! every session.
//!
//! As in `session.rs`, the response stream is the conversation. It says one
//! thing, what to check, and then only listens.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::{task::coop::consume_budget, time::Instant};
use tonic::{Request, Response, Status, Streaming};
use tracing::warn;

use super::{
    reception::{End, Happening, Reception, Visit, log_refusal},
    status::bad_message,
};
use crate::{
    config::Limits,
    envoy::{
        checks::CheckSettings,
        fold::{BadReport, Fold},
        node::{self, Proxy},
    },
    model::{Attempt, HealthReport},
    proto::envoy::{
        config::core::v3::Node,
        service::health::v3::{
            HealthCheckSpecifier, server::health_discovery_service_server::HealthDiscoveryService,
        },
    },
    registry::events::Stranger,
    registry::{Caller, Endurance},};

/// The least silence that ends a session: shorter than that a busy host is, too.
const LEAST_PATIENCE: Duration = Duration::from_secs(2);
/// Reports that may be late before their Envoy counts as lost.
const MISSED_REPORTS: u32 = 3;

/// The desk of the service.
#[derive(Debug, Clone)]
pub(super) struct Envoys {
    pub(super) reception: Reception,
    pub(super) limits: Arc<Limits>,
    pub(super) checks: CheckSettings,
}

#[tonic::async_trait]
impl HealthDiscoveryService for Envoys {
    type StreamHealthCheckStream = Pin<Box<dyn Stream<Item = Result<HealthCheckSpecifier, Status>> + Send>>;

    async fn stream_health_check(
        &self,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Self::StreamHealthCheckStream>, Status> {
        self.reception.gate(Caller::Insistent)?;
        let (desk, peer) = (self.clone(), request.remote_addr());
        let conversation = Conversation { desk, peer, inbound: request.into_inner(), phase: Phase::Opening };
        let answers = stream::unfold(conversation, |mut conversation| async {
            let answer = conversation.next().await?;
            Some((answer, conversation))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

struct Conversation {
    desk: Envoys,
    peer: Option<SocketAddr>,
    inbound: Streaming<Bytes>,
    phase: Phase,
}

#[expect(clippy::large_enum_variant, reason = "nearly all are open, and a box would cost them more")]
enum Phase {
    /// Nothing was said yet.
    Opening,
    /// The session is open.
    Open(Checkup),
    /// All is said.
    Over,
}

/// An open session, and what its Envoy has found out so far.
struct Checkup {
    visit: Visit,
    fold: Fold,
    /// Reports that said something new.
    news: u64,
}

impl Conversation {
    /// What to say next: the one thing, or the end.
    async fn next(&mut self) -> Option<Result<HealthCheckSpecifier, Status>> {
        let end = match std::mem::replace(&mut self.phase, Phase::Over) {
            // Boxed, so that it does not stay in the memory of each quiet session.
            Phase::Opening => match Box::pin(self.open()).await {
                Ok(specifier) => return Some(Ok(specifier)),
                Err(end) => end,
            },
            Phase::Open(checkup) => self.listen(checkup).await,
            Phase::Over => End::Quiet,
        };
        match end {
            End::Status(status) => Some(Err(status)),
            End::Quiet => None,
        }
    }

    /// Waits for the node, and lets its Envoy in.
    async fn open(&mut self) -> Result<HealthCheckSpecifier, End> {
        let Envoys { reception, limits, .. } = &self.desk;
        let first = reception.first("node", limits.hello_timeout, self.inbound.message()).await?;
        let (who, refused) = match first {
            Ok(Some(first)) => match node::read(&first) {
                Ok(node) => {
                    // It is large, and no longer needed.
                    drop(first);
                    match self.greet(&node).await {
                        Ok(specifier) => return Ok(specifier),
                        Err(status) => (Some(node::stranger(&node)), status),
                    }
                }
                Err(invalid) => (None, invalid.into()),
            },
            Ok(None) => return Err(End::Quiet),
            Err(status) => (None, bad_message(&status).ok_or(End::Quiet)?),
        };
        log_refusal(self.peer, who.as_ref().map(Stranger::name), &refused);
        Err(refused.into())
    }

    async fn greet(&mut self, node: &Node) -> Result<HealthCheckSpecifier, Status> {
        let Envoys { reception, limits, checks: settings } = &self.desk;
        let proxy = Proxy::parse(node, limits.dataplane);
        let Proxy { dataplane, checks } = proxy.inspect_err(|invalid| {
            reception.registry.record_refusal(node::stranger(node), invalid.to_string());
        })?;
        let silence = (MISSED_REPORTS * settings.report_interval.get()).max(LEAST_PATIENCE);
        // An Envoy that has just started has more to do than to report.
        let endurance = Endurance { silence, start: limits.hello_timeout };
        let (visit, warnings) =
            reception.let_in(dataplane, Attempt::default(), Caller::Insistent, endurance, self.peer).await?;
        for warning in warnings {
            // An Envoy shows its user nothing, so it has to be said here.
            warn!(session = %visit.id(), dataplane = %visit.dataplane().key, "{warning}");
        }
        let fold = Fold::new(&checks, settings, Instant::now());
        self.phase = Phase::Open(Checkup { visit, fold, news: 0 });
        Ok(checks.specifier(settings))
    }

    /// Takes reports until the session ends.
    async fn listen(&mut self, Checkup { mut visit, mut fold, mut news }: Checkup) -> End {
        loop {
            // Reports that never pause shall not keep others waiting.
            consume_budget().await;
            let said = match visit.next(self.inbound.message()).await {
                Happening::Said(said) => said,
                Happening::Settled(_) => continue,
                Happening::Notice(notice) => return visit.heed(notice).into(),
            };
            let refused = match said {
                Ok(Some(report)) => match fold.report(report, Instant::now()) {
                    Ok(Some(health)) => {
                        news += 1;
                        visit.report(HealthReport { sequence: news, health });
                        continue;
                    }
                    Ok(None) => {
                        visit.alive();
                        continue;
                    }
                    Err(bad) => refusal(&bad),
                },
                Ok(None) => return End::Quiet,
                Err(status) => match bad_message(&status) {
                    Some(refused) => refused,
                    None => return End::Quiet,
                },
            };
            visit.refuse(&refused);
            return refused.into();
        }
    }
}

fn refusal(bad: &BadReport) -> Status {
    match bad {
        BadReport::Undecodable(_) => Status::invalid_argument(bad.to_string()),
        BadReport::NodeAgain => Status::failed_precondition(bad.to_string()),
    }
}
