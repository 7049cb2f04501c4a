//! A server with access control, and callers with and without credentials.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use headcount::proto::{
    SessionRequest, SessionResponse, dataplane_service_client::DataplaneServiceClient,
    session_request::Message, session_response::Message as Response,
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    transport::{Channel, Endpoint, Error},
};

use crate::{
    pki::{Authority, Pair},
    support::{Counts, DEADLINE, Issuer, Program, Server, Site, get, retry},
};

/// A server whose gRPC callers need credentials. Its other addresses are plaintext on loopback, so
/// that the test can read the metrics.
pub(super) struct Secured {
    pub(super) server: Server,
    ca: Authority,
    issuer: Issuer,
}

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
    pub(super) async fn start(flags: &str) -> Self {
        let (site, ca, issuer) = (Site::new(), Authority::new(), Issuer::new().await);
        let Pair { cert, key } = ca.server(&[&site.any_port().ip().to_string()]);
        let (cert, key) = (site.file("tls.crt", &cert), site.file("tls.key", &key));
        let access = site.file("access.yaml", &issuer.access(&["use: dataplane", "use: user"]));
        site.file("ca.crt", &ca.pem);
        let files = [cert, key, access].map(|file| file.display().to_string());
        let own = format!(
            "--grpc-tls-cert-file {} --grpc-tls-key-file {} --access-file {}",
            files[0], files[1], files[2]
        );
        Self { server: Server::start_at(site, &format!("{own} {flags}")).await, ca, issuer }
    }

    /// A token for dataplanes with these restrictions, as flags of `generate dataplane-token`.
    pub(super) async fn token(&self, restrictions: &str) -> String {
        self.issuer.token("dataplane-token", restrictions).await
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
        self.token(&format!("--mesh default --namespace default --name {name} --workload {name}")).await
    }

    pub(super) async fn holder_of(&self, token: &str) -> Caller {
        Caller { token: Some(token.to_owned()), ..self.without_credential().await }
    }

    /// A user who may read everything.
    pub(super) async fn viewer(&self, name: &str) -> Caller {
        let token = self.issuer.token("user-token", &format!("--name {name} --group ops")).await;
        self.holder_of(&token).await
    }

    /// Opens a connection, from this address if it is given.
    pub(super) async fn connect(&self, from: Option<IpAddr>) -> Result<Channel, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (tls, address) = (TlsConnector::from(Arc::new(config)), self.server.grpc);
        let connector = tower::service_fn(move |_| {
            let tls = tls.clone();
            async move { handshake(tls, address, from).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        endpoint.connect_with_connector(connector).await
    }

    /// Starts a real agent with a token for its dataplane, which has no inbounds.
    pub(super) async fn agent(&self, name: &str, workload: &str) -> Program {
        let one = format!("--mesh default --namespace default --name {name} --workload {workload}");
        let site = &self.server.site;
        let token = site.file(&format!("{name}.token"), &self.token(&one).await);
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

async fn handshake(
    tls: TlsConnector,
    address: SocketAddr,
    from: Option<IpAddr>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    if let Some(from) = from {
        socket.bind((from, 0).into())?;
    }
    tls.connect(ServerName::IpAddress(address.ip().into()), socket.connect(address).await?).await
}
