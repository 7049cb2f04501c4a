//! Callers with and without credentials, and what the test reads of the server itself.

use std::net::IpAddr;

use headcount::proto::{
    SessionRequest, SessionResponse, dataplane_service_client::DataplaneServiceClient,
    session_request::Message, session_response::Message as Response,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    transport::{Channel, Error},
};

use crate::{
    secured::Secured,
    support::{Counts, DEADLINE, Program, get, retry},
};

/// A caller on a connection of its own.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) channel: Channel,
    token: Option<String>,
}

/// A session stream. Dropping it ends the session without a goodbye.
#[derive(Debug)]
pub(super) struct Session {
    _requests: mpsc::Sender<SessionRequest>,
    responses: Streaming<SessionResponse>,
}

impl Secured {
    /// A token for dataplanes with these restrictions, as flags of `generate dataplane-token`.
    pub(super) async fn dataplane_token(&self, restrictions: &str) -> String {
        self.token("dataplane-token", restrictions).await
    }

    /// A caller without a credential.
    pub(super) async fn without_credential(&self) -> Caller {
        Caller { channel: self.connect(None).await.expect("a connection"), token: None }
    }

    /// The holder of a token for one dataplane of mesh and namespace `default`, and its workload of
    /// the same name.
    pub(super) async fn holder(&self, name: &str) -> Caller {
        self.holder_of(&self.token_for(name).await).await
    }

    /// The token of [`Self::holder`].
    pub(super) async fn token_for(&self, name: &str) -> String {
        let one = format!("--mesh default --namespace default --name {name} --workload {name}");
        self.dataplane_token(&one).await
    }

    pub(super) async fn holder_of(&self, token: &str) -> Caller {
        Caller { token: Some(token.to_owned()), ..self.without_credential().await }
    }

    /// A user who may read everything.
    pub(super) async fn viewer(&self, name: &str) -> Caller {
        let token = self.token("user-token", &format!("--name {name} --group ops")).await;
        self.holder_of(&token).await
    }

    /// Opens a connection, from this address if it is given.
    pub(super) async fn connect(&self, from: Option<IpAddr>) -> Result<Channel, Error> {
        self.client(None).connect(self.server.grpc, from).await
    }

    /// Starts a real agent with a token for its dataplane, which has no inbounds.
    pub(super) async fn agent(&self, name: &str, workload: &str) -> Program {
        let one = format!("--mesh default --namespace default --name {name} --workload {workload}");
        let site = &self.server.site;
        let token = site.file(&format!("{name}.token"), &self.dataplane_token(&one).await);
        let dataplane = format!(
            "type: Dataplane\nmesh: default\nname: {name}\nlabels: {{kuma.io/workload: {workload}}}\n\
             networking: {{address: 127.0.0.1}}\n"
        );
        let dataplane = site.file(&format!("{name}.yaml"), &dataplane);
        let files = [dataplane, token, site.path("ca.crt")].map(|file| file.display().to_string());
        Program::start(&mut crate::support::headcount(&format!(
            "agent --dataplane-file {} --token-file {} --ca-file {} --server https://{}",
            files[0], files[1], files[2], self.server.grpc
        )))
    }

    /// The metrics, from a listener without TLS.
    pub(super) async fn metrics(&self) -> String {
        get(self.server.http, "/metrics").await.expect("a response").1
    }

    /// Connected, healthy and registered dataplanes of a workload of mesh and namespace `default`.
    pub(super) async fn counts(&self, workload: &str) -> Option<Counts> {
        let metrics = self.metrics().await;
        let labels = format!("{{mesh=\"default\",namespace=\"default\",workload=\"{workload}\"}} ");
        let count = |suffix: &str| {
            let series = format!("headcount_dataplane_proxies_{suffix}{labels}");
            metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
        };
        Some([count("connected")?, count("healthy")?, count("registered")?])
    }

    pub(super) async fn wait_for_counts(&self, workload: &str, counts: Counts) {
        let what = format!("the counts {counts:?} of {workload}");
        retry(&what, async || (self.counts(workload).await? == counts).then_some(())).await;
    }

    /// The value of `headcount_shed_total`.
    pub(super) async fn shed(&self, limit: &str) -> u64 {
        let series = format!("headcount_shed_total{{limit=\"{limit}\"}} ");
        let metrics = self.metrics().await;
        metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).expect("the limit")
    }
}

impl Caller {
    /// A request with the caller's token.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        request
    }

    /// The holder of a token on this connection.
    pub(super) fn on(channel: Channel, token: &str) -> Self {
        Self { channel, token: Some(token.to_owned()) }
    }

    /// Sends messages on a new session stream, and returns it after its first response.
    pub(super) async fn open<const N: usize>(&self, messages: [Message; N]) -> Result<Session, Status> {
        let mut session = self.begin(messages).await?;
        match session.next().await? {
            Some(Response::Welcome(_)) => Ok(session),
            other => panic!("expected a welcome, got {other:?}"),
        }
    }

    /// Sends messages on a new session stream.
    pub(super) async fn begin<const N: usize>(&self, messages: [Message; N]) -> Result<Session, Status> {
        let (requests, stream) = mpsc::channel(N.max(1));
        for message in messages {
            requests.try_send(SessionRequest { message: Some(message) }).unwrap();
        }
        let mut client = DataplaneServiceClient::new(self.channel.clone());
        let responses = client.session(self.request(ReceiverStream::new(stream))).await?.into_inner();
        Ok(Session { _requests: requests, responses })
    }
}

impl Session {
    pub(super) async fn next(&mut self) -> Result<Option<Response>, Status> {
        let response = timeout(DEADLINE, self.responses.message()).await.expect("a response in time")?;
        Ok(response.and_then(|response| response.message))
    }
}
