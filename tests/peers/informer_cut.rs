//! kube-rs's informer behind an HTTP proxy that ends every watch after its first line.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, pin::pin};

use futures_util::stream;
use headcount::proto::{
    Goodbye, SessionRequest, SessionResponse, dataplane_service_client::DataplaneServiceClient,
    session_request::Message, session_response::Message as Response,
};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request,
    body::{Bytes, Frame, Incoming},
    client::conn::http1 as client,
    server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::{
    informers::store,
    support::{Counts, DEADLINE, Program, Server, dataplane, hello, peer, ready},
};

/// Few names, so that each is deleted and created again between two requests.
const NAMES: [&str; 4] = ["w1", "w3", "w5", "w9"];
const HISTORIES: usize = 12;
const ROUNDS: usize = 10;
const MAX_CHANGES: usize = 8;

#[tokio::test]
async fn informers_that_resume_after_every_line_end_with_the_listed_workloads() {
    let Some(program) = peer("informer") else { return };
    let server = Server::start("--flap-interval 0s --max-session-rate 1000000").await;
    let mut fleet = Fleet::new(server.connect().await);
    let mut random = fastrand::Rng::with_seed(9);
    let mut informers = Vec::new();
    for mode in ["list", "stream"] {
        informers.push(Informer::start(&program, &server, mode).await);
    }
    for history in 0..HISTORIES {
        for _round in 0..ROUNDS {
            fleet.change(&mut random).await;
            for informer in &mut informers {
                informer.release_next_watch().await;
            }
        }
        // An informer that has this Workload has received all changes before it.
        fleet.connect(&format!("end-{history}")).await;
        let listed = list(&server).await;
        for informer in &mut informers {
            informer.wait_for_store(&listed).await;
        }
    }
    for informer in &informers {
        informer.assert_never_relisted().await;
    }
}

/// Lists the Workloads through gRPC.
async fn list(server: &Server) -> BTreeMap<String, Counts> {
    let printed = server.run("get workloads -o json").await.expect_exit(0).out;
    let list: Value = serde_json::from_str(&printed).unwrap();
    let counts = |item: &Value| {
        let proxies = &item["status"]["dataplaneProxies"];
        ["connected", "healthy", "total"]
            .map(|count| u32::try_from(proxies[count].as_u64().unwrap()).unwrap())
    };
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| (item["metadata"]["name"].as_str().unwrap().to_owned(), counts(item))).collect()
}

/// The sessions of the test, one for each Workload.
struct Fleet {
    channel: Channel,
    sessions: BTreeMap<String, Session>,
    /// Makes the names of dataplanes unique, so that no throttle applies.
    connected: usize,
}

impl Fleet {
    fn new(channel: Channel) -> Self {
        Self { channel, sessions: BTreeMap::new(), connected: 0 }
    }

    /// Creates, deletes and updates random Workloads.
    async fn change(&mut self, random: &mut fastrand::Rng) {
        for _ in 0..random.usize(1..=MAX_CHANGES) {
            let name = NAMES[random.usize(0..NAMES.len())];
            match self.sessions.get_mut(name) {
                None => self.connect(name).await,
                Some(session) if !session.reported && random.bool() => session.report().await,
                Some(_) => self.sessions.remove(name).unwrap().leave().await,
            }
        }
    }

    async fn connect(&mut self, workload: &str) {
        self.connected += 1;
        let name = format!("{workload}-{}", self.connected);
        let session = Session::connect(self.channel.clone(), workload, &name).await;
        self.sessions.insert(workload.to_owned(), session);
    }
}

/// A session of the generated client.
struct Session {
    requests: mpsc::Sender<SessionRequest>,
    responses: Streaming<SessionResponse>,
    reported: bool,
}

impl Session {
    async fn connect(channel: Channel, workload: &str, name: &str) -> Self {
        let (requests, stream) = mpsc::channel(1);
        let hello = hello(dataplane("default", workload, name));
        requests.send(SessionRequest { message: Some(hello) }).await.unwrap();
        let stream = DataplaneServiceClient::new(channel).session(ReceiverStream::new(stream)).await.unwrap();
        let mut session = Self { requests, responses: stream.into_inner(), reported: false };
        assert!(matches!(session.next_response().await, Some(Response::Welcome(_))));
        session
    }

    async fn report(&mut self) {
        self.send(ready()).await;
        self.reported = true;
        assert!(matches!(self.next_response().await, Some(Response::Ack(_))));
    }

    async fn leave(mut self) {
        self.send(Message::Goodbye(Goodbye {})).await;
        assert!(self.next_response().await.is_none());
    }

    async fn send(&self, message: Message) {
        self.requests.send(SessionRequest { message: Some(message) }).await.unwrap();
    }

    async fn next_response(&mut self) -> Option<Response> {
        let response = timeout(DEADLINE, self.responses.message()).await.expect("a response in time");
        response.unwrap().and_then(|response| response.message)
    }
}

/// An informer that connects through a proxy of its own. The proxy holds each resumed watch until the
/// test releases it.
struct Informer {
    program: Program,
    held_watches: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
}

impl Informer {
    async fn start(program: &Path, server: &Server, mode: &str) -> Self {
        let listener = TcpListener::bind(server.site.any_port()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (hold, held_watches) = mpsc::unbounded_channel();
        tokio::spawn(run_proxy(listener, server.kube, hold));
        Self { program: Program::start(Command::new(program).arg(url).arg(mode)), held_watches }
    }

    /// Waits until a watch is held, and releases it.
    async fn release_next_watch(&mut self) {
        let held = timeout(DEADLINE, self.held_watches.recv()).await.expect("a resumed watch in time");
        held.unwrap().send(()).unwrap();
    }

    /// Releases all watches until the informer's store has these Workloads.
    async fn wait_for_store(&mut self, expected: &BTreeMap<String, Counts>) {
        let what = format!("{expected:?}");
        let find = |out: &str| (store(out) == *expected).then_some(());
        let mut complete = pin!(self.program.wait_for_stdout(&what, find));
        loop {
            tokio::select! {
                () = &mut complete => return,
                Some(held) = self.held_watches.recv() => held.send(()).unwrap(),
            }
        }
    }

    /// A new list would hide a missed change.
    async fn assert_never_relisted(&self) {
        let lists =
            self.program.wait_for_stdout("a list", |out| Some(out.matches(r#""init""#).count())).await;
        assert_eq!(lists, 1);
    }
}

async fn run_proxy(
    listener: TcpListener,
    target: SocketAddr,
    hold: mpsc::UnboundedSender<oneshot::Sender<()>>,
) {
    loop {
        let (io, _) = listener.accept().await.unwrap();
        let hold = hold.clone();
        let service = service_fn(move |request| forward(request, target, hold.clone()));
        // Fails if the informer closes the connection.
        tokio::spawn(server::Builder::new().serve_connection(TokioIo::new(io), service));
    }
}

/// Forwards a request. A watch with initial events ends after their end mark, a resumed watch after its
/// first line.
async fn forward(
    request: Request<Incoming>,
    target: SocketAddr,
    hold: mpsc::UnboundedSender<oneshot::Sender<()>>,
) -> anyhow::Result<hyper::Response<UnsyncBoxBody<Bytes, hyper::Error>>> {
    let query = request.uri().query().unwrap_or_default();
    let last_line = match (query.contains("watch=true"), query.contains("sendInitialEvents=true")) {
        (false, _) => None,
        (true, true) => Some("k8s.io/initial-events-end"),
        (true, false) => Some(""),
    };
    if last_line == Some("") {
        let (release, released) = oneshot::channel();
        hold.send(release)?;
        released.await?;
    }
    let io = TcpStream::connect(target).await?;
    let (mut sender, connection) = client::handshake(TokioIo::new(io)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| match last_line {
        None => body.boxed_unsync(),
        Some(text) => lines_through(body, text),
    }))
}

/// The lines of `body` up to and including the first one that contains `text`.
fn lines_through(body: Incoming, text: &'static str) -> UnsyncBoxBody<Bytes, hyper::Error> {
    let lines = stream::unfold(Some((body, Vec::new())), move |state| async move {
        let (mut body, mut buffer) = state?;
        loop {
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let rest = buffer.split_off(end + 1);
                let is_last = str::from_utf8(&buffer).unwrap().contains(text);
                let line = Ok(Frame::data(Bytes::from(buffer)));
                return Some((line, (!is_last).then_some((body, rest))));
            }
            match body.frame().await? {
                Ok(frame) => buffer.extend(frame.into_data().unwrap_or_default()),
                Err(error) => return Some((Err(error), None)),
            }
        }
    });
    StreamBody::new(lines).boxed_unsync()
}
