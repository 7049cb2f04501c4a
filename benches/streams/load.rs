//! The clients: they do not know which side they talk to.

use anyhow::{Context as _, ensure};
use headcount::{
    proto::{
        HealthReport, HealthState, Hello, InboundHealth, SessionRequest, SessionResponse,
        WatchWorkloadsRequest, WatchWorkloadsResponse, dataplane_service_client::DataplaneServiceClient,
        session_request::Message as Said, session_response::Message as Answer,
        workload_service_client::WorkloadServiceClient,
    },
    wire,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use crate::support::typical;

/// Reports that wait to be sent. The sender never finds it full unless the
/// server does not read.
const QUEUE: usize = 1_024;

/// One proxy, on a connection of its own.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) says: mpsc::Sender<SessionRequest>,
    pub(crate) hears: Streaming<SessionResponse>,
}

impl Proxy {
    /// Connects the dataplane with this number; returns when it is welcome.
    pub(crate) async fn connect(uri: &str, number: usize) -> anyhow::Result<Self> {
        let (says, said) = mpsc::channel(QUEUE);
        let dataplane = typical::dataplane(number)?;
        let hello = Hello {
            dataplane: Some(wire::dataplane_to_proto(&dataplane)),
            agent_version: dataplane.agent_version.to_string(),
        };
        says.try_send(SessionRequest { message: Some(Said::Hello(hello)) })?;
        let response =
            DataplaneServiceClient::new(channel(uri).await?).session(ReceiverStream::new(said)).await?;
        let mut hears = response.into_inner();
        let first = hears.message().await?.and_then(|first| first.message);
        ensure!(matches!(first, Some(Answer::Welcome(_))), "not welcome: {first:?}");
        Ok(Self { says, hears })
    }
}

/// The report with this number. Each flips the health that the one before
/// stated; the first states that it is ready.
pub(crate) fn report(sequence: u64) -> SessionRequest {
    let state = if sequence % 2 == 1 { HealthState::Ready } else { HealthState::NotReady };
    SessionRequest {
        message: Some(Said::Health(HealthReport {
            sequence,
            proxy: HealthState::Ready.into(),
            inbounds: vec![InboundHealth { port: 8080, state: state.into() }],
        })),
    }
}

/// Watches everything, on a connection of its own; the snapshot has been read.
pub(crate) async fn watch(uri: &str) -> anyhow::Result<Streaming<WatchWorkloadsResponse>> {
    let response = WorkloadServiceClient::new(channel(uri).await?)
        .watch_workloads(WatchWorkloadsRequest::default())
        .await?;
    let mut deltas = response.into_inner();
    let snapshot = deltas.message().await?.context("no snapshot")?;
    ensure!(snapshot.synced && snapshot.upserted.is_empty(), "the server is not fresh");
    Ok(deltas)
}

async fn channel(uri: &str) -> anyhow::Result<Channel> {
    Ok(Endpoint::from_shared(uri.to_owned())?.connect().await?)
}
