//! The clients: the same code for both sides, with tonic's usual client.

use std::{convert::Infallible, time::Duration};

use anyhow::bail;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use headcount::{
    convert,
    proto::{
        HealthReport, HealthState, Heartbeat, Hello, InboundHealth, SessionRequest, SessionResponse,
        dataplane_service_client::DataplaneServiceClient, session_request::Message as ToServer,
        session_response::Message as FromServer,
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

/// Requests that may wait to be sent. It is full only if the server does not read.
const QUEUE: usize = 1_024;
/// Sessions that are opened at the same time.
const CONCURRENT: usize = 64;

/// One proxy with an open session.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) requests: mpsc::Sender<SessionRequest>,
    pub(crate) responses: Streaming<SessionResponse>,
}

impl Proxy {
    /// Connects the dataplane with this number, on a connection of its own.
    pub(crate) async fn connect(uri: &str, number: usize) -> anyhow::Result<Self> {
        Self::open(channel(uri).await?, number, None).await
    }

    /// Opens the session, with heartbeats of this interval or none; retries after the server's `RetryInfo`
    /// when a limit is reached.
    pub(crate) async fn open(
        channel: Channel,
        number: usize,
        heartbeat_interval: Option<Duration>,
    ) -> anyhow::Result<Self> {
        Self::connect_with(channel, hello(number, heartbeat_interval)?).await
    }

    /// Opens the session of a dataplane that names no workload, so that readers see no change.
    pub(crate) async fn open_without_workload(channel: Channel, number: usize) -> anyhow::Result<Self> {
        let mut hello = hello(number, None)?;
        if let Some(dataplane) = &mut hello.dataplane {
            dataplane.labels.clear();
            dataplane.inbounds.clear();
        }
        Self::connect_with(channel, hello).await
    }

    async fn connect_with(channel: Channel, hello: Hello) -> anyhow::Result<Self> {
        loop {
            match Self::attempt(channel.clone(), hello.clone()).await? {
                Ok(proxy) => return Ok(proxy),
                Err(status) if status.code() == Code::ResourceExhausted => {
                    let info = status.get_details_retry_info();
                    sleep(info.and_then(|info| info.retry_delay).unwrap_or(Duration::from_secs(1))).await;
                }
                Err(status) => bail!(status),
            }
        }
    }

    /// One attempt; the inner error is the status of the RPC.
    async fn attempt(channel: Channel, hello: Hello) -> anyhow::Result<Result<Self, Status>> {
        let (requests, request_stream) = mpsc::channel(QUEUE);
        requests.try_send(SessionRequest { message: Some(ToServer::Hello(hello)) })?;
        let opened = async {
            let response =
                DataplaneServiceClient::new(channel).session(ReceiverStream::new(request_stream)).await?;
            let mut responses = response.into_inner();
            Ok::<_, Status>((responses.message().await?, responses))
        };
        match opened.await {
            Ok((Some(SessionResponse { message: Some(FromServer::Welcome(_)) }), responses)) => {
                Ok(Ok(Self { requests, responses }))
            }
            Ok((first, _)) => bail!("no welcome: {first:?}"),
            Err(status) => Ok(Err(status)),
        }
    }

    /// Sends heartbeats at this interval, and waits for the ack of each. Returns only with an error.
    pub(crate) async fn send_heartbeats(mut self, interval: Duration) -> anyhow::Result<Infallible> {
        loop {
            sleep(interval).await;
            self.requests.send(SessionRequest { message: Some(ToServer::Heartbeat(Heartbeat {})) }).await?;
            match self.responses.message().await? {
                Some(SessionResponse { message: Some(FromServer::HeartbeatAck(_)) }) => {}
                other => bail!("no ack of a heartbeat: {other:?}"),
            }
        }
    }

    /// Sends the report with this sequence number, and waits for its ack.
    pub(crate) async fn report(&mut self, sequence: u64) -> anyhow::Result<()> {
        self.requests.send(report(sequence)).await?;
        match self.responses.message().await? {
            Some(SessionResponse { message: Some(FromServer::Ack(ack)) }) if ack.sequence == sequence => {
                Ok(())
            }
            other => bail!("no ack of {sequence}: {other:?}"),
        }
    }
}

/// The hello of the dataplane with this number.
fn hello(number: usize, heartbeat_interval: Option<Duration>) -> anyhow::Result<Hello> {
    let dataplane = typical::dataplane(number)?;
    Ok(Hello {
        dataplane: Some(convert::dataplane_to_proto(&dataplane)),
        agent_version: dataplane.agent_version.to_string(),
        heartbeat_interval: heartbeat_interval.map(convert::duration),
        ..Hello::default()
    })
}

/// Connects the dataplanes with these numbers, over this many connections.
pub(crate) async fn connect_many(
    uri: &str,
    numbers: impl Iterator<Item = usize>,
    connections: usize,
) -> anyhow::Result<Vec<Proxy>> {
    open_many(&channels(uri, connections).await?, numbers).await
}

/// Opens this many connections.
pub(crate) async fn channels(uri: &str, connections: usize) -> anyhow::Result<Vec<Channel>> {
    stream::iter(0..connections).map(|_| channel(uri)).buffer_unordered(CONCURRENT).try_collect().await
}

/// Opens the sessions of the dataplanes with these numbers, spread over connections.
pub(crate) async fn open_many(
    channels: &[Channel],
    numbers: impl Iterator<Item = usize>,
) -> anyhow::Result<Vec<Proxy>> {
    let proxies = numbers.zip(channels.iter().cycle());
    stream::iter(proxies)
        .map(|(number, channel)| Proxy::open(channel.clone(), number, None))
        .buffered(CONCURRENT)
        .try_collect()
        .await
}

/// The report with this sequence number. Each flips the health; the first one is ready.
pub(crate) fn report(sequence: u64) -> SessionRequest {
    let state = if sequence % 2 == 1 { HealthState::Ready } else { HealthState::NotReady };
    SessionRequest {
        message: Some(ToServer::Health(HealthReport {
            sequence,
            proxy: HealthState::Ready.into(),
            inbounds: vec![InboundHealth { port: 8080, state: state.into() }],
        })),
    }
}

pub(crate) async fn channel(uri: &str) -> anyhow::Result<Channel> {
    Ok(Endpoint::from_shared(uri.to_owned())?.connect().await?)
}
