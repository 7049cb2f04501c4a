//! One history: what a watch of the Kubernetes API tells is what `WatchWorkloads`
//! tells, change for change.

use std::collections::BTreeMap;

use headcount::{
    proto::{WatchWorkloadsRequest, WatchWorkloadsResponse, workload_service_client::WorkloadServiceClient},
    registry::Session,
};
use tonic::Streaming;

use crate::support::{Lines, Server, Told, WORKLOADS, report, soon};

/// What a reader knows: numbers and revision of each Workload.
type Known = BTreeMap<(String, String), ([u64; 3], u64)>;

/// A change: when, of what, and to what; to nothing if it is gone.
type Change = (u64, String, Option<[u64; 3]>);

struct Both {
    grpc: Streaming<WatchWorkloadsResponse>,
    kube: Lines,
}

impl Both {
    async fn open(server: &Server) -> Self {
        let url = format!("http://{}", server.app.addresses().grpc);
        let mut client = WorkloadServiceClient::connect(url).await.unwrap();
        let grpc = client.watch_workloads(WatchWorkloadsRequest::default()).await.unwrap().into_inner();
        let mut both = Self { grpc, kube: server.watch(&format!("{WORKLOADS}?watch=true")).await };
        soon("the snapshot", both.grpc.message()).await.unwrap();
        both
    }

    /// All changes up to a revision, as the one tells them.
    async fn by_grpc(&mut self, until: u64, known: &mut Known) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut revision = 0;
        while revision < until {
            let step = soon("a step", self.grpc.message()).await.unwrap().unwrap();
            assert!(!step.reset);
            for gone in step.removed {
                known.remove(&(gone.namespace, gone.name.clone()));
                changes.push((step.revision, gone.name, None));
            }
            for workload in step.upserted {
                let of = workload.status.unwrap().dataplane_proxies.unwrap();
                let counts = [of.connected, of.healthy, of.total].map(u64::from);
                known.insert((workload.namespace, workload.name.clone()), (counts, workload.revision));
                changes.push((workload.revision, workload.name, Some(counts)));
            }
            revision = step.revision.max(revision);
        }
        changes.sort();
        changes
    }

    /// And as the other does.
    async fn by_kube(&mut self, until: u64, known: &mut Known) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut revision = 0;
        while revision < until {
            let event = self.kube.next().await.unwrap();
            let told = Told::of(&event);
            let namespace = event["object"]["metadata"]["namespace"].as_str().unwrap().to_owned();
            let key = (namespace, told.name.clone());
            match told.r#type.as_str() {
                "DELETED" => {
                    assert!(known.remove(&key).is_some(), "deleted, and was not known: {told:?}");
                    changes.push((told.revision, told.name.clone(), None));
                }
                r#type => {
                    let before = known.insert(key, (told.counts, told.revision));
                    assert_eq!(before.is_some(), r#type == "MODIFIED", "{told:?}");
                    changes.push((told.revision, told.name.clone(), Some(told.counts)));
                }
            }
            assert!(told.revision >= revision, "never back: {told:?}");
            revision = told.revision;
        }
        changes.sort();
        changes
    }
}

/// After each change, before the next: no change is told in common with another.
#[tokio::test]
async fn both_tell_every_change_that_both_have_time_for() {
    let server = Server::start().await;
    let mut both = Both::open(&server).await;
    let (mut known, mut same) = (Known::new(), Known::new());
    let mut sessions: Vec<Option<Session>> = Vec::new();
    for round in 0..40_u64 {
        // One visible change in each round.
        match round % 4 {
            0 | 1 => {
                sessions.push(Some(server.join(["api", "web"][usize::from(round % 8 > 3)], sessions.len())));
            }
            2 => report(sessions.last_mut().unwrap().as_mut().unwrap(), round + 1, true),
            _ => {
                let place = usize::try_from(round / 4).unwrap();
                sessions[place].take().into_iter().for_each(Session::goodbye);
            }
        }
        let head = server.head();
        let (one, other) = (both.by_grpc(head, &mut known).await, both.by_kube(head, &mut same).await);
        assert_eq!(one, other, "round {round}");
        assert_eq!(known, same);
    }
}

/// In whatever steps each of them is told: what is known in the end is one.
#[tokio::test]
async fn both_know_the_same_in_the_end_however_much_happens() {
    let server = Server::start().await;
    let mut both = Both::open(&server).await;
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
    let (mut known, mut same) = (Known::new(), Known::new());
    both.by_grpc(head, &mut known).await;
    both.by_kube(head, &mut same).await;
    assert_eq!(known, same);
    assert!(known.len() > 10);
    drop(last);
}
