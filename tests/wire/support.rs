//! A server of one test, and what its readers see.

use std::{collections::BTreeMap, future::IntoFuture, net::SocketAddr, time::Duration};

use headcount::{
    app::App,
    config::{Config, KubeSettings},
    proto::{
        Dataplane, GetWorkloadRequest, Inbound, ListWorkloadsRequest, ListWorkloadsResponse, Workload,
        WorkloadFilter, dataplane_service_client::DataplaneServiceClient,
        event_service_client::EventServiceClient, workload_service_client::WorkloadServiceClient,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use crate::{fold::Fold, proxy::Proxy};

/// For everything that a test waits for.
const DEADLINE: Duration = Duration::from_secs(10);

/// Waits for `what`, which must come within the deadline.
pub async fn soon<F: IntoFuture>(what: &str, future: F) -> F::Output {
    let in_time = timeout(DEADLINE, future).await;
    in_time.unwrap_or_else(|_| panic!("{what}: has not come within {DEADLINE:?}"))
}

/// Connected, healthy, total.
pub type Counts = (u32, u32, u32);

/// A running server.
pub struct Server {
    pub app: App,
    channel: Channel,
}

impl Server {
    /// With default settings.
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// With some settings of the test's own.
    pub async fn with(set: impl FnOnce(&mut Config)) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let kube = KubeSettings { addr: None, ..KubeSettings::default() };
        let mut config = Config { grpc_addr: any, http_addr: any, kube, ..Config::default() };
        set(&mut config);
        let app = soon("start", App::start(config)).await.expect("it starts");
        let channel = endpoint(app.addresses().grpc).connect_lazy();
        Self { app, channel }
    }

    pub fn grpc(&self) -> SocketAddr {
        self.app.addresses().grpc
    }

    pub fn http(&self) -> SocketAddr {
        self.app.addresses().http
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Channel {
        soon("connect", endpoint(self.grpc()).connect()).await.expect("it listens")
    }

    /// The connection that this server's readers share.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub fn workloads(&self) -> WorkloadServiceClient<Channel> {
        WorkloadServiceClient::new(self.channel())
    }

    pub fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel())
    }

    pub fn dataplanes(&self) -> DataplaneServiceClient<Channel> {
        DataplaneServiceClient::new(self.channel())
    }

    /// A session of a dataplane, over a connection of its own.
    pub async fn proxy(&self, dataplane: Dataplane) -> Proxy {
        Proxy::hello(self.connect().await, dataplane).await
    }

    /// A watch of all Workloads from the start, of which the snapshot has been read.
    pub async fn watch(&self) -> Fold {
        self.watch_from(WorkloadFilter::default(), "").await
    }

    /// A watch that has read all up to where it is told that it is in sync.
    pub async fn watch_from(&self, filter: WorkloadFilter, token: &str) -> Fold {
        let mut fold = Fold::open(self.workloads(), filter, token).await;
        fold.until_synced().await;
        fold
    }

    pub async fn list(&self) -> ListWorkloadsResponse {
        let request = ListWorkloadsRequest::default();
        let listed = soon("list", self.workloads().list_workloads(request)).await;
        listed.expect("a listing").into_inner()
    }

    /// Of a Workload in the default namespace; zeros if it does not exist.
    pub async fn counts(&self, name: &str) -> Counts {
        let request = GetWorkloadRequest { name: name.into(), ..GetWorkloadRequest::default() };
        match soon("get", self.workloads().get_workload(request)).await {
            Ok(found) => counts_of(&found.into_inner().workload.expect("a Workload")),
            Err(status) if status.code() == Code::NotFound => (0, 0, 0),
            Err(status) => panic!("get {name}: {status:?}"),
        }
    }

    /// Reads the numbers of a Workload again after each change, until they are these.
    pub async fn until_counts(&self, name: &str, wanted: Counts) {
        let mut news = self.app.registry().subscribe();
        let read = async {
            while self.counts(name).await != wanted {
                news.changed().await.expect("the registry lives");
            }
        };
        soon(&format!("{name} with {wanted:?}"), read).await;
    }

    pub async fn scrape(&self) -> Scrape {
        let (code, text) = http_get(self.http(), "/metrics").await;
        assert_eq!(code, 200, "{text}");
        Scrape(text)
    }

    /// Scrapes until a series has a value: calls are counted when their last
    /// part is dropped, which may be after their client has heard the end.
    pub async fn until_metric(&self, series: &str, wanted: u32) {
        let read = async { while self.scrape().await.value(series) != Some(wanted) {} };
        soon(&format!("{series} {wanted}"), read).await;
    }
}

pub fn endpoint(addr: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{addr}")).expect("an address")
}

/// A new client finds all in order: it is let in, is counted exactly, leaves,
/// and everybody else is counted as before.
pub async fn still_serves(server: &Server) {
    let before = numbers(&server.list().await.workloads);
    let name = "still-serves";
    assert_eq!(server.counts(name).await, (0, 0, 0));
    let mut proxy = server.proxy(dataplane(name, name)).await;
    assert_eq!(server.counts(name).await, (1, 0, 1));
    proxy.ready().await;
    assert_eq!(server.counts(name).await, (1, 1, 1));
    proxy.goodbye().await;
    assert_eq!(server.counts(name).await, (0, 0, 0));
    assert_eq!(numbers(&server.list().await.workloads), before);
}

/// The numbers of each Workload, by its place.
pub fn numbers(workloads: &[Workload]) -> BTreeMap<String, Counts> {
    let place = |w: &Workload| format!("{}/{}/{}", w.namespace, w.name, w.mesh);
    workloads.iter().map(|w| (place(w), counts_of(w))).collect()
}

pub fn counts_of(workload: &Workload) -> Counts {
    let status = workload.status.as_ref().expect("a status");
    let proxies = status.dataplane_proxies.expect("its numbers");
    (proxies.connected, proxies.healthy, proxies.total)
}

/// A dataplane of the mesh and namespace `default` with one inbound, 8080.
pub fn dataplane(name: &str, workload: &str) -> Dataplane {
    let label = (headcount::model::WORKLOAD_LABEL.to_owned(), workload.to_owned());
    Dataplane {
        mesh: "default".into(),
        name: name.into(),
        labels: BTreeMap::from([label]),
        inbounds: vec![inbound(8080)],
        ..Dataplane::default()
    }
}

pub fn inbound(port: u32) -> Inbound {
    Inbound { port, ..Inbound::default() }
}

/// The code is right, and the message has all of these words.
pub fn assert_says(status: &Status, code: Code, words: &[&str]) {
    assert_eq!(status.code(), code, "{}", status.message());
    for word in words {
        assert!(status.message().contains(word), "{word:?} is not in {:?}", status.message());
    }
}

/// What Prometheus reads.
pub struct Scrape(pub String);

impl Scrape {
    /// The value of a series, written as Prometheus writes it, if it is a whole number.
    pub fn value(&self, series: &str) -> Option<u32> {
        let of_line = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        self.0.lines().find_map(of_line)
    }
}

/// GET over HTTP/1.1 on a connection of its own: the code and the body.
pub async fn http_get(addr: SocketAddr, path: &str) -> (u16, String) {
    let get = async {
        let mut io = TcpStream::connect(addr).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        io.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        io.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = soon(path, get).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.expect("a code"), body.to_owned())
}
