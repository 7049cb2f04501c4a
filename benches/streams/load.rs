//! The clients: they do not know which side they talk to.

use std::time::Duration;

use anyhow::bail;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use headcount::{
    convert,
    proto::{
        HealthReport, HealthState, Hello, InboundHealth, SessionRequest, SessionResponse,
        dataplane_service_client::DataplaneServiceClient, session_request::Message as Said,
        session_response::Message as Answer,
    },
};
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::support::typical;

/// Reports that wait to be sent. The sender never finds it full unless the
/// server does not read.
const QUEUE: usize = 1_024;
/// Sessions that open at the same time.
const AT_ONCE: usize = 64;

/// One proxy with an open session.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) says: mpsc::Sender<SessionRequest>,
    pub(crate) hears: Streaming<SessionResponse>,
}

impl Proxy {
    /// Connects the dataplane with this number, on a connection of its own.
    pub(crate) async fn connect(uri: &str, number: usize) -> anyhow::Result<Self> {
        Self::join(channel(uri).await?, number).await
    }

    /// Returns when it is welcome. A server that asks to come back later gets
    /// its will.
    async fn join(channel: Channel, number: usize) -> anyhow::Result<Self> {
        loop {
            match Self::hello(channel.clone(), number).await? {
                Ok(proxy) => return Ok(proxy),
                Err(refused) if refused.code() == Code::ResourceExhausted => {
                    let info = refused.get_details_retry_info();
                    sleep(info.and_then(|info| info.retry_delay).unwrap_or(Duration::from_secs(1))).await;
                }
                Err(refused) => bail!(refused),
            }
        }
    }

    async fn hello(channel: Channel, number: usize) -> anyhow::Result<Result<Self, Status>> {
        let (says, said) = mpsc::channel(QUEUE);
        let dataplane = typical::dataplane(number)?;
        let hello = Hello {
            dataplane: Some(convert::dataplane_to_proto(&dataplane)),
            agent_version: dataplane.agent_version.to_string(),
            ..Hello::default()
        };
        says.try_send(SessionRequest { message: Some(Said::Hello(hello)) })?;
        let opened = async {
            let response = DataplaneServiceClient::new(channel).session(ReceiverStream::new(said)).await?;
            let mut hears = response.into_inner();
            Ok::<_, Status>((hears.message().await?, hears))
        };
        match opened.await {
            Ok((Some(SessionResponse { message: Some(Answer::Welcome(_)) }), hears)) => {
                Ok(Ok(Self { says, hears }))
            }
            Ok((first, _)) => bail!("not welcome: {first:?}"),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// Says the report with this number, and waits for its ack.
    pub(crate) async fn report(&mut self, sequence: u64) -> anyhow::Result<()> {
        self.says.send(report(sequence)).await?;
        match self.hears.message().await? {
            Some(SessionResponse { message: Some(Answer::Ack(ack)) }) if ack.sequence == sequence => Ok(()),
            other => bail!("no ack of {sequence}: {other:?}"),
        }
    }
}

/// Connects the dataplanes with these numbers, over so many connections.
pub(crate) async fn crowd(
    uri: &str,
    numbers: impl Iterator<Item = usize>,
    connections: usize,
) -> anyhow::Result<Vec<Proxy>> {
    let channels: Vec<Channel> =
        stream::iter(0..connections).map(|_| channel(uri)).buffer_unordered(AT_ONCE).try_collect().await?;
    let proxies = numbers.zip(channels.iter().cycle());
    stream::iter(proxies)
        .map(|(number, channel)| Proxy::join(channel.clone(), number))
        .buffered(AT_ONCE)
        .try_collect()
        .await
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

pub(crate) async fn channel(uri: &str) -> anyhow::Result<Channel> {
    Ok(Endpoint::from_shared(uri.to_owned())?.connect().await?)
}
