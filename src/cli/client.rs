//! A connection to a server: how it is made, and how its errors are explained.

use std::{error::Error as StdError, io};

use tonic::{Code, Response, Status, Streaming};

use super::{
    Failure,
    args::{server::Target, server_url::ServerUrl},
    terminal::visible,
};
use crate::net::{
    client::{ConnectProblem, Connection, causes},
    foreign::http_answer,
};
use crate::proto::{
    backup_service_client::BackupServiceClient, dataplane_service_client::DataplaneServiceClient,
    event_service_client::EventServiceClient, mesh_identity_service_client::MeshIdentityServiceClient,
    token_service_client::TokenServiceClient, workload_service_client::WorkloadServiceClient,
};

/// A page of 500 dataplanes with the maximum of labels and inbounds is larger than tonic's
/// default of 4 MiB.
const MAX_MESSAGE: usize = 64 << 20;

/// A connection to a server. It reconnects by itself when a call finds it lost.
#[derive(Debug, Clone)]
pub(super) struct Client {
    connection: Connection,
    target: Target,
}

impl Client {
    /// Connects to a server.
    pub(super) async fn connect(target: Target) -> Result<Self, Failure> {
        match target.endpoint.connect().await {
            Ok(connection) => Ok(Self { connection, target }),
            Err(error) => Err(Failure::Server(connection_error(&target.server, &error))),
        }
    }

    pub(super) fn workloads(&self) -> WorkloadServiceClient<Connection> {
        WorkloadServiceClient::new(self.connection.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(super) fn dataplanes(&self) -> DataplaneServiceClient<Connection> {
        DataplaneServiceClient::new(self.connection.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(super) fn events(&self) -> EventServiceClient<Connection> {
        EventServiceClient::new(self.connection.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(super) fn backups(&self) -> BackupServiceClient<Connection> {
        BackupServiceClient::new(self.connection.clone())
    }

    pub(super) fn mesh_identities(&self) -> MeshIdentityServiceClient<Connection> {
        MeshIdentityServiceClient::new(self.connection.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(super) fn tokens(&self) -> TokenServiceClient<Connection> {
        TokenServiceClient::new(self.connection.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Limits the next message of a stream to the request timeout.
    pub(super) async fn next<T>(&self, stream: &mut Streaming<T>) -> Result<Option<T>, Status> {
        let message = tokio::time::timeout(self.target.request_timeout, stream.message()).await;
        message.map_err(|_| Status::deadline_exceeded("request timeout"))?
    }

    /// Limits a call to the request timeout. For a stream, that is the time until it starts.
    pub(super) async fn with_timeout<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        let response = tokio::time::timeout(self.target.request_timeout, call).await;
        response.map_err(|_| Status::deadline_exceeded("request timeout"))?.map(Response::into_inner)
    }

    /// Turns a status into an error text with a remedy.
    pub(super) fn explain(&self, status: &Status) -> Failure {
        let Target { server, request_timeout, .. } = &self.target;
        let message = visible(status.message());
        if let Some(answer) = http_answer(status) {
            return Failure::Server(format!(
                "not headcount but something at or in front of {server} answered: {answer}\n  \
                 check --server, and that each proxy on the way passes gRPC (HTTP/2) on"
            ));
        }
        Failure::Server(match status.code() {
            Code::InvalidArgument => return Failure::Usage(message.into_owned()),
            Code::DeadlineExceeded => format!(
                "the server at {server} did not respond within {}\n  \
                 set a longer --request-timeout, or check the server's log",
                humantime::format_duration(*request_timeout)
            ),
            Code::Unimplemented => format!(
                "the server at {server} does not support this request ({message})\n  \
                 it may be older than this headcount ({}), or not a headcount server: check --server",
                env!("CARGO_PKG_VERSION")
            ),
            Code::Unauthenticated => format!(
                "the server at {server} denied the request: {message}\n  \
                 check --token-file, or --client-cert-file and --client-key-file: it must be the credential of a user"
            ),
            Code::PermissionDenied => format!("the server at {server} denied the request: {message}"),
            Code::FailedPrecondition | Code::AlreadyExists | Code::ResourceExhausted | Code::NotFound => {
                format!("the server at {server} rejected the request: {message}")
            }
            _ if is_transport(status) => connection_error(server, status),
            Code::Unavailable => format!(
                "the server at {server} is unavailable: {message}\n  it may be starting or stopping: try again"
            ),
            code => format!("the server at {server} returned an error: {message} ({code:?})"),
        })
    }
}

/// Whether the connection failed, rather than the server returned this status.
fn is_transport(status: &Status) -> bool {
    status.source().is_some()
}

/// Whether the same request may succeed later.
pub(super) fn is_transient(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::DeadlineExceeded
            // tonic's codes for a connection that breaks in the middle of a stream.
            | Code::Unknown
            | Code::Internal
    )
}

fn connection_error(server: &ServerUrl, error: &(dyn StdError + 'static)) -> String {
    if let Some(ConnectProblem { problem, remedy }) = ConnectProblem::of(error) {
        return format!("cannot connect to the server at {server}: {}\n  {remedy}", visible(problem));
    }
    let io_kind = causes(error).find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    let (problem, remedy) = match io_kind {
        Some(io::ErrorKind::ConnectionRefused) => (
            "connection refused".to_owned(),
            "is the server running? start one with `headcount serve --demo`, or set its address with --server",
        ),
        Some(io::ErrorKind::TimedOut) => {
            ("connection timed out".to_owned(), "check --server, and firewalls on the way")
        }
        _ => {
            let cause = causes(error).last().map(ToString::to_string).unwrap_or_default();
            (
                visible(&cause).into_owned(),
                "check --server: it must be the gRPC address of a headcount server (port 7100 by default; 7101 is HTTP)",
            )
        }
    };
    format!("cannot reach the server at {server}: {problem}\n  {remedy}")
}
