//! A gRPC server for tests of the client commands: every response is scripted by the test.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream, transport::Server};

use crate::proto::{
    self, server,
    server::{
        backup_service_server::{BackupService, BackupServiceServer},
        dataplane_service_server::{DataplaneService, DataplaneServiceServer},
        event_service_server::{EventService, EventServiceServer},
        workload_service_server::{WorkloadService, WorkloadServiceServer},
    },
};

/// The responses to the calls of one method, and the requests received.
#[derive(Debug)]
pub(in crate::cli) struct Script<Req, Resp> {
    responses: Mutex<VecDeque<Result<Resp, Status>>>,
    requests: Mutex<Vec<Req>>,
}

impl<Req, Resp> Default for Script<Req, Resp> {
    fn default() -> Self {
        Self { responses: Mutex::default(), requests: Mutex::default() }
    }
}

impl<Req: Clone, Resp> Script<Req, Resp> {
    /// Adds the response to one more call.
    pub(in crate::cli) fn push(&self, response: Result<Resp, Status>) {
        self.responses.lock().unwrap().push_back(response);
    }

    /// The requests received so far.
    pub(in crate::cli) fn requests(&self) -> Vec<Req> {
        self.requests.lock().unwrap().clone()
    }

    fn call(&self, request: Request<Req>) -> Result<Resp, Status> {
        self.requests.lock().unwrap().push(request.into_inner());
        let next = self.responses.lock().unwrap().pop_front();
        next.unwrap_or_else(|| Err(Status::unimplemented("no response in the script")))
    }
}

/// The messages of a stream, after which it ends.
pub(in crate::cli) type Messages<T> = Vec<Result<T, Status>>;

/// A server with one script per method.
#[derive(Debug, Default)]
pub(in crate::cli) struct ScriptedServer {
    pub(in crate::cli) get: Script<proto::GetWorkloadRequest, proto::GetWorkloadResponse>,
    pub(in crate::cli) list: Script<proto::ListWorkloadsRequest, proto::ListWorkloadsResponse>,
    pub(in crate::cli) watch: Script<proto::WatchWorkloadsRequest, Messages<proto::WatchWorkloadsResponse>>,
    pub(in crate::cli) wait: Script<proto::WaitForWorkloadRequest, proto::WaitForWorkloadResponse>,
    pub(in crate::cli) dataplanes: Script<proto::ListDataplanesRequest, proto::ListDataplanesResponse>,
    pub(in crate::cli) events: Script<proto::ListEventsRequest, proto::ListEventsResponse>,
    pub(in crate::cli) backup: Script<proto::CreateBackupRequest, Messages<proto::CreateBackupResponse>>,
    pub(in crate::cli) watch_events: Script<proto::WatchEventsRequest, Messages<proto::WatchEventsResponse>>,
}

impl ScriptedServer {
    /// Serves on a free loopback port until the test's runtime ends.
    pub(in crate::cli) async fn serve(self: &Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder()
            .add_service(WorkloadServiceServer::from_arc(self.clone()))
            .add_service(DataplaneServiceServer::from_arc(self.clone()))
            .add_service(EventServiceServer::from_arc(self.clone()))
            .add_service(BackupServiceServer::from_arc(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        address
    }
}

/// Converts a client message to the server's type, which has the same encoding.
fn to_server<T: Message + Default>(message: &impl Message) -> T {
    T::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn stream<T: Send + 'static>(messages: Messages<T>) -> Response<BoxStream<T>> {
    Response::new(Box::pin(tokio_stream::iter(messages)))
}

#[tonic::async_trait]
impl WorkloadService for ScriptedServer {
    type WatchWorkloadsStream = BoxStream<proto::Encoded>;

    async fn get_workload(
        &self,
        request: Request<proto::GetWorkloadRequest>,
    ) -> Result<Response<server::GetWorkloadResponse>, Status> {
        self.get.call(request).map(|response| Response::new(to_server(&response)))
    }

    async fn list_workloads(
        &self,
        request: Request<proto::ListWorkloadsRequest>,
    ) -> Result<Response<server::ListWorkloadsResponse>, Status> {
        self.list.call(request).map(|response| Response::new(to_server(&response)))
    }

    async fn watch_workloads(
        &self,
        request: Request<proto::WatchWorkloadsRequest>,
    ) -> Result<Response<Self::WatchWorkloadsStream>, Status> {
        let messages = self.watch.call(request)?.into_iter();
        let encoded = |message: proto::WatchWorkloadsResponse| proto::Encoded(message.encode_to_vec().into());
        Ok(stream(messages.map(|message| message.map(encoded)).collect()))
    }

    async fn wait_for_workload(
        &self,
        request: Request<proto::WaitForWorkloadRequest>,
    ) -> Result<Response<server::WaitForWorkloadResponse>, Status> {
        self.wait.call(request).map(|response| Response::new(to_server(&response)))
    }
}

#[tonic::async_trait]
impl DataplaneService for ScriptedServer {
    type SessionStream = BoxStream<proto::SessionResponse>;

    async fn session(
        &self,
        _: Request<Streaming<proto::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        Err(Status::unimplemented("sessions are not scripted"))
    }

    async fn list_dataplanes(
        &self,
        request: Request<proto::ListDataplanesRequest>,
    ) -> Result<Response<proto::ListDataplanesResponse>, Status> {
        self.dataplanes.call(request).map(Response::new)
    }
}

#[tonic::async_trait]
impl EventService for ScriptedServer {
    type WatchEventsStream = BoxStream<proto::WatchEventsResponse>;

    async fn list_events(
        &self,
        request: Request<proto::ListEventsRequest>,
    ) -> Result<Response<proto::ListEventsResponse>, Status> {
        self.events.call(request).map(Response::new)
    }

    async fn watch_events(
        &self,
        request: Request<proto::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        self.watch_events.call(request).map(stream)
    }
}

#[tonic::async_trait]
impl BackupService for ScriptedServer {
    type CreateBackupStream = BoxStream<proto::CreateBackupResponse>;

    async fn create_backup(
        &self,
        request: Request<proto::CreateBackupRequest>,
    ) -> Result<Response<Self::CreateBackupStream>, Status> {
        self.backup.call(request).map(stream)
    }
}
