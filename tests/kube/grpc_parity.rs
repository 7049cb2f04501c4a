//! A watch of the Kubernetes API and `WatchWorkloads` send the same changes at the same
//! revisions.

use std::collections::BTreeMap;

use headcount::{
    proto::{WatchWorkloadsRequest, WatchWorkloadsResponse, workload_service_client::WorkloadServiceClient},
    registry::Session,
};
use tonic::Streaming;

use crate::support::{Server, WORKLOADS, Watch, WatchEvent, report, soon};

/// The state of a client: counts and revision of each Workload, by namespace and name.
type Cache = BTreeMap<(String, String), ([u64; 3], u64)>;

/// A change: its revision, the name of the Workload, and the new counts; none if it is deleted.
type Change = (u64, String, Option<[u64; 3]>);

struct Watches {
    grpc: Streaming<WatchWorkloadsResponse>,
    kube: Watch,
}

impl Watches {
    async fn open(server: &Server) -> Self {
        let url = format!("http://{}", server.app.addresses().grpc);
        let mut client = WorkloadServiceClient::connect(url).await.unwrap();
        let grpc = client.watch_workloads(WatchWorkloadsRequest::default()).await.unwrap().into_inner();
        let mut watches = Self { grpc, kube: server.watch(&format!("{WORKLOADS}?watch=true")).await };
        soon("the snapshot", watches.grpc.message()).await.unwrap();
        watches
    }

    /// Reads the changes up to a revision from the gRPC watch, and applies them to the cache.
    async fn read_grpc(&mut self, until: u64, cache: &mut Cache) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut revision = 0;
        while revision < until {
            let response = soon("a response", self.grpc.message()).await.unwrap().unwrap();
            assert!(!response.reset);
            for removed in response.removed {
                cache.remove(&(removed.namespace, removed.name.clone()));
                changes.push((response.revision, removed.name, None));
            }
            for workload in response.upserted {
                let proxies = workload.status.unwrap().dataplane_proxies.unwrap();
                let counts = [proxies.connected, proxies.healthy, proxies.total].map(u64::from);
                cache.insert((workload.namespace, workload.name.clone()), (counts, workload.revision));
                changes.push((workload.revision, workload.name, Some(counts)));
            }
            revision = response.revision.max(revision);
        }
        changes.sort();
        changes
    }

    /// Reads the same changes from the Kubernetes watch.
    async fn read_kube(&mut self, until: u64, cache: &mut Cache) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut revision = 0;
        while revision < until {
            let line = self.kube.next().await.unwrap();
            let event = WatchEvent::parse(&line);
            let namespace = line["object"]["metadata"]["namespace"].as_str().unwrap().to_owned();
            let key = (namespace, event.name.clone());
            match event.r#type.as_str() {
                "DELETED" => {
                    assert!(cache.remove(&key).is_some(), "not in the cache: {event:?}");
                    changes.push((event.revision, event.name.clone(), None));
                }
                r#type => {
                    let before = cache.insert(key, (event.counts, event.revision));
                    assert_eq!(before.is_some(), r#type == "MODIFIED", "{event:?}");
                    changes.push((event.revision, event.name.clone(), Some(event.counts)));
                }
            }
            assert!(event.revision >= revision, "revisions must not decrease: {event:?}");
            revision = event.revision;
        }
        changes.sort();
        changes
    }
}

/// Both watches are read after each change, so that no two changes are combined.
#[tokio::test]
async fn both_watches_send_every_change_if_they_are_read_in_time() {
    let server = Server::start().await;
    let mut watches = Watches::open(&server).await;
    let (mut grpc, mut kube) = (Cache::new(), Cache::new());
    let mut sessions: Vec<Option<Session>> = Vec::new();
    for round in 0..40_u64 {
        // Each round makes one visible change.
        match round % 4 {
            0 | 1 => {
                sessions.push(Some(server.join(["api", "web"][usize::from(round % 8 > 3)], sessions.len())));
            }
            2 => report(sessions.last_mut().unwrap().as_mut().unwrap(), round + 1, true),
            _ => {
                let index = usize::try_from(round / 4).unwrap();
                sessions[index].take().into_iter().for_each(Session::goodbye);
            }
        }
        let head = server.head();
        let from_grpc = watches.read_grpc(head, &mut grpc).await;
        let from_kube = watches.read_kube(head, &mut kube).await;
        assert_eq!(from_grpc, from_kube, "round {round}");
        assert_eq!(grpc, kube);
    }
}

/// However each of them combines changes.
#[tokio::test]
async fn both_watches_end_in_the_same_state() {
    let server = Server::start().await;
    let mut watches = Watches::open(&server).await;
    let mut sessions: Vec<Session> = Vec::new();
    for number in 0..600 {
        let mut session =
            server.join_in("default", ["default", "shop"][number % 2], &format!("w{}", number % 7), number);
        report(&mut session, 1, number % 3 == 0);
        sessions.push(session);
        if number % 5 == 4 {
            sessions.remove(0).goodbye();
            drop(sessions.remove(0));
        }
    }
    let last = server.join("last", 1);
    let head = server.head();
    let (mut grpc, mut kube) = (Cache::new(), Cache::new());
    watches.read_grpc(head, &mut grpc).await;
    watches.read_kube(head, &mut kube).await;
    assert_eq!(grpc, kube);
    assert!(grpc.len() > 10);
    drop(last);
}
