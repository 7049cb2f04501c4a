//! The clients: the same code for both sides, with tonic's usual client.

use std::{convert::Infallible, time::Duration};

use anyhow::bail;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use headcount::{
    convert,
    net::client::Connection,
    proto::{
        HealthReport, HealthState, Heartbeat, Hello, InboundHealth, SessionRequest, SessionResponse,
        dataplane_service_client::DataplaneServiceClient, session_request::Message as ToServer,
        session_response::Message as FromServer,
    },
};
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Endpoint};
use tonic_types::StatusExt as _;

use crate::{remote::Remote, support::typical};

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
    pub(crate) async fn connect(remote: Remote, number: usize) -> anyhow::Result<Self> {
        let connection = remote.as_dataplane(connect(remote).await?, number)?;
        Self::open(connection, number, None).await
    }

    /// Opens the session, with heartbeats of this interval or none; retries after the server's `RetryInfo`
    /// when a limit is reached.
    pub(crate) async fn open(
        connection: Connection,
        number: usize,
        heartbeat_interval: Option<Duration>,
    ) -> anyhow::Result<Self> {
        Self::connect_with(connection, hello(number, heartbeat_interval)?).await
    }

    /// Opens the session of a dataplane that names no workload, so that readers see no change.
    pub(crate) async fn open_without_workload(connection: Connection, number: usize) -> anyhow::Result<Self> {
        let mut hello = hello(number, None)?;
        if let Some(dataplane) = &mut hello.dataplane {
            dataplane.labels.clear();
            dataplane.inbounds.clear();
        }
        Self::connect_with(connection, hello).await
    }

    async fn connect_with(connection: Connection, hello: Hello) -> anyhow::Result<Self> {
        loop {
            match Self::attempt(connection.clone(), hello.clone()).await? {
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
    async fn attempt(connection: Connection, hello: Hello) -> anyhow::Result<Result<Self, Status>> {
        let (requests, request_stream) = mpsc::channel(QUEUE);
        requests.try_send(SessionRequest { message: Some(ToServer::Hello(hello)) })?;
        let opened = async {
            let response =
                DataplaneServiceClient::new(connection).session(ReceiverStream::new(request_stream)).await?;
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
    remote: Remote,
    numbers: impl Iterator<Item = usize>,
    connections: usize,
) -> anyhow::Result<Vec<Proxy>> {
    open_many(remote, &self::connections(remote, connections).await?, numbers).await
}

/// Opens this many connections.
pub(crate) async fn connections(remote: Remote, connections: usize) -> anyhow::Result<Vec<Connection>> {
    stream::iter(0..connections).map(|_| connect(remote)).buffer_unordered(CONCURRENT).try_collect().await
}

/// Opens the sessions of the dataplanes with these numbers, spread over connections.
pub(crate) async fn open_many(
    remote: Remote,
    connections: &[Connection],
    numbers: impl Iterator<Item = usize>,
) -> anyhow::Result<Vec<Proxy>> {
    let proxies = numbers.zip(connections.iter().cycle());
    stream::iter(proxies)
        .map(async |(number, connection)| {
            Proxy::open(remote.as_dataplane(connection.clone(), number)?, number, None).await
        })
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

/// Opens a connection.
pub(crate) async fn connect(remote: Remote) -> anyhow::Result<Connection> {
    remote.connect(&Endpoint::from_shared(remote.uri())?).await
}
