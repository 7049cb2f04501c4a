//! The server of one test, and helpers that read from it.

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

use crate::{proxy::Proxy, watcher::Watcher};

/// Deadline of everything that a test waits for.
const DEADLINE: Duration = Duration::from_secs(10);

/// Waits for `what`, and panics after the deadline.
pub async fn in_time<F: IntoFuture>(what: &str, future: F) -> F::Output {
    let output = timeout(DEADLINE, future).await;
    output.unwrap_or_else(|_| panic!("timed out after {DEADLINE:?}, waiting for {what}"))
}

/// Connected, healthy, total.
pub type Counts = (u32, u32, u32);

/// A running server.
pub struct Server {
    pub app: App,
    channel: Channel,
}

impl Server {
    /// Starts a server with default settings.
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// Starts a server with the settings that `set` changes.
    pub async fn with(set: impl FnOnce(&mut Config)) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let kube = KubeSettings { addr: None, ..KubeSettings::default() };
        let mut config = Config { grpc_addr: any, http_addr: any, kube, ..Config::default() };
        set(&mut config);
        let app = in_time("the start", App::start(config)).await.expect("the server starts");
        let channel = endpoint(app.addresses().grpc).connect_lazy();
        Self { app, channel }
    }

    pub fn grpc(&self) -> SocketAddr {
        self.app.addresses().grpc
    }

    pub fn http(&self) -> SocketAddr {
        self.app.addresses().http
    }

    /// Opens a new connection.
    pub async fn connect(&self) -> Channel {
        in_time("a connection", endpoint(self.grpc()).connect()).await.expect("the server listens")
    }

    /// The connection that the clients below share.
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

    /// Opens a session for a dataplane, on a new connection.
    pub async fn proxy(&self, dataplane: Dataplane) -> Proxy {
        Proxy::connect(self.connect().await, dataplane).await
    }

    /// Opens a watch of all Workloads, and reads the snapshot.
    pub async fn watch(&self) -> Watcher {
        self.watch_from(WorkloadFilter::default(), "").await
    }

    /// Opens a watch from this resume token, and reads until it is in sync.
    pub async fn watch_from(&self, filter: WorkloadFilter, token: &str) -> Watcher {
        let mut watcher = Watcher::open(self.workloads(), filter, token).await;
        watcher.read_until_synced().await;
        watcher
    }

    pub async fn list(&self) -> ListWorkloadsResponse {
        let request = ListWorkloadsRequest::default();
        let listed = in_time("list", self.workloads().list_workloads(request)).await;
        listed.expect("a listing").into_inner()
    }

    /// Counts of a Workload in the default namespace; zeros if it does not exist.
    pub async fn counts(&self, name: &str) -> Counts {
        let request = GetWorkloadRequest { name: name.into(), ..GetWorkloadRequest::default() };
        match in_time("get", self.workloads().get_workload(request)).await {
            Ok(found) => counts_of(&found.into_inner().workload.expect("a Workload")),
            Err(status) if status.code() == Code::NotFound => (0, 0, 0),
            Err(status) => panic!("get {name}: {status:?}"),
        }
    }

    /// Waits until a Workload has these counts; reads them after every change of the registry.
    pub async fn wait_for_counts(&self, name: &str, wanted: Counts) {
        let mut changes = self.app.registry().subscribe();
        let read = async {
            while self.counts(name).await != wanted {
                changes.changed().await.expect("the registry exists");
            }
        };
        in_time(&format!("{name} to have {wanted:?}"), read).await;
    }

    pub async fn scrape(&self) -> Scrape {
        let (code, text) = http_get(self.http(), "/metrics").await;
        assert_eq!(code, 200, "{text}");
        Scrape(text)
    }

    /// Scrapes until a series has this value. The server counts a call when it drops its last part,
    /// which may be after the client has received the status.
    pub async fn wait_for_metric(&self, series: &str, wanted: u32) {
        let read = async { while self.scrape().await.value(series) != Some(wanted) {} };
        in_time(&format!("{series} to be {wanted}"), read).await;
    }
}

pub fn endpoint(addr: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{addr}")).expect("an address")
}

/// Checks that the server is intact: a new proxy is admitted and counted exactly, leaves, and all
/// other counts are as before.
pub async fn still_serves(server: &Server) {
    let before = counts_by_workload(&server.list().await.workloads);
    let name = "still-serves";
    assert_eq!(server.counts(name).await, (0, 0, 0));
    let mut proxy = server.proxy(dataplane(name, name)).await;
    assert_eq!(server.counts(name).await, (1, 0, 1));
    proxy.ready().await;
    assert_eq!(server.counts(name).await, (1, 1, 1));
    proxy.goodbye().await;
    assert_eq!(server.counts(name).await, (0, 0, 0));
    assert_eq!(counts_by_workload(&server.list().await.workloads), before);
}

/// Counts of each Workload, by `namespace/name/mesh`.
pub fn counts_by_workload(workloads: &[Workload]) -> BTreeMap<String, Counts> {
    let key = |w: &Workload| format!("{}/{}/{}", w.namespace, w.name, w.mesh);
    workloads.iter().map(|w| (key(w), counts_of(w))).collect()
}

pub fn counts_of(workload: &Workload) -> Counts {
    let status = workload.status.as_ref().expect("a status");
    let proxies = status.dataplane_proxies.expect("its counts");
    (proxies.connected, proxies.healthy, proxies.total)
}

/// A dataplane in mesh and namespace `default` with one inbound, port 8080.
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

/// Asserts the code of a status, and that its message contains all these parts.
#[track_caller]
pub fn assert_status(status: &Status, code: Code, parts: &[&str]) {
    assert_eq!(status.code(), code, "{}", status.message());
    for part in parts {
        assert!(status.message().contains(part), "{part:?} is not in {:?}", status.message());
    }
}

/// The text of one scrape of `/metrics`.
pub struct Scrape(pub String);

impl Scrape {
    /// Value of a series in the text format, such as `up{job="x"}`; none if it is not an integer.
    pub fn value(&self, series: &str) -> Option<u32> {
        let of_line = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        self.0.lines().find_map(of_line)
    }
}

/// Sends a GET over HTTP/1.1 on a new connection, and returns the status code and the body.
pub async fn http_get(addr: SocketAddr, path: &str) -> (u16, String) {
    let get = async {
        let mut io = TcpStream::connect(addr).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        io.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        io.read_to_string(&mut response).await?;
        Ok::<_, std::io::Error>(response)
    };
    let response = in_time(path, get).await.expect("a response");
    let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.expect("a status code"), body.to_owned())
}
