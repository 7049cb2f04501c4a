//! Talking to a server: how to connect, how long to wait, and what a person can
//! do when it fails.

use std::{error::Error as StdError, io, time::Duration};

use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint},
};

use super::{
    Failure, Parsed, Problems,
    args::{period::NonZeroPeriod, server_url::ServerUrl},
    terminal::visible,
};
use crate::proto::{
    dataplane_service_client::DataplaneServiceClient, event_service_client::EventServiceClient,
    workload_service_client::WorkloadServiceClient,
};

/// A server that is there accepts within milliseconds; this is for lost packets.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A watch of a quiet mesh sends nothing for a minute. Pings find a server that
/// vanished without a word in at most 30 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A page of 500 dataplanes with all the labels and inbounds they may have is
/// larger than tonic's 4 MiB.
const MAX_MESSAGE: usize = 64 << 20;

/// Flags of every command that talks to a server.
#[derive(clap::Args, Debug, Clone)]
#[command(next_help_heading = "Server")]
pub(super) struct ClientArgs {
    /// Where the server listens for gRPC; `host:port` will do
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7100")]
    server: Parsed<ServerUrl>,
    /// How long one request may take; a watch is not limited
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    request_timeout: Parsed<NonZeroPeriod>,
}

impl ClientArgs {
    /// The server that is meant, or problems.
    pub(super) fn check(self, problems: &mut Problems) -> Option<Target> {
        let server = problems.take("server", self.server);
        let request_timeout = problems.take("request-timeout", self.request_timeout);
        Some(Target { server: server?, request_timeout: request_timeout?.into() })
    }
}

/// A server to talk to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Where it is.
    pub(super) server: ServerUrl,
    /// How long a unary call may take.
    pub(super) request_timeout: Duration,
}

impl Target {
    /// Connects. From then on a connection that was lost is opened anew by the
    /// next call.
    pub(super) async fn connect(self) -> Result<Client, Failure> {
        let endpoint = Endpoint::from(self.server.uri())
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        match endpoint.connect().await {
            Ok(channel) => Ok(Client { channel, target: self }),
            Err(error) => Err(Failure::Server(unreachable_server(&self.server, &error))),
        }
    }
}

/// A connection to a server.
#[derive(Debug, Clone)]
pub(super) struct Client {
    channel: Channel,
    target: Target,
}

impl Client {
    /// Workloads.
    pub(super) fn workloads(&self) -> WorkloadServiceClient<Channel> {
        WorkloadServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Dataplanes.
    pub(super) fn dataplanes(&self) -> DataplaneServiceClient<Channel> {
        DataplaneServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Events.
    pub(super) fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Limits a call to the time one request may take; of a stream, that is the
    /// time until it is open.
    pub(super) async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        let answer = tokio::time::timeout(self.target.request_timeout, call).await;
        answer.map_err(|_| Status::deadline_exceeded("no answer in time"))?.map(Response::into_inner)
    }

    /// What a status means to a person, and what to do next.
    pub(super) fn explain(&self, status: &Status) -> Failure {
        let Target { server, request_timeout } = &self.target;
        let said = visible(status.message());
        Failure::Server(match status.code() {
            Code::InvalidArgument => return Failure::Usage(said.into_owned()),
            Code::DeadlineExceeded => format!(
                "the server at {server} did not answer within {}\n  \
                 give it longer by --request-timeout, or look at its log",
                humantime::format_duration(*request_timeout)
            ),
            Code::Unimplemented => format!(
                "the server at {server} does not know this request ({said})\n  \
                 it may be older than this headcount ({}), or another kind of server: check --server",
                env!("CARGO_PKG_VERSION")
            ),
            Code::Unauthenticated | Code::PermissionDenied => {
                format!("the server at {server} refused: {said}")
            }
            _ if is_transport(status) => unreachable_server(server, status),
            Code::Unavailable => {
                format!(
                    "the server at {server} is not available: {said}\n  it may be starting or ending: try again"
                )
            }
            code => format!("the server at {server} failed: {said} ({code:?})"),
        })
    }
}

/// Whether it was not the server that spoke, but the connection that broke.
fn is_transport(status: &Status) -> bool {
    status.source().is_some()
}

/// Whether asking again, later, may succeed.
pub(super) fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::DeadlineExceeded
            // What tonic makes of a connection that breaks in mid-stream.
            | Code::Unknown
            | Code::Internal
    )
}

fn unreachable_server(server: &ServerUrl, error: &(dyn StdError + 'static)) -> String {
    let io_kind = causes(error).find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    let (problem, advice) = match io_kind {
        Some(io::ErrorKind::ConnectionRefused) => (
            "connection refused".to_owned(),
            "is the server running? start one with `headcount serve --demo`, or name it by --server",
        ),
        Some(io::ErrorKind::TimedOut) => {
            ("no connection in time".to_owned(), "check the address in --server, and firewalls between")
        }
        _ => {
            let cause = causes(error).last().map(ToString::to_string).unwrap_or_default();
            (
                visible(&cause).into_owned(),
                "check --server: it must be the gRPC address of a headcount server (port 7100 by default; 7101 is HTTP)",
            )
        }
    };
    format!("cannot reach the server at {server}: {problem}\n  {advice}")
}

/// An error and what caused it, the root last.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
