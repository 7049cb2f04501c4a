//! The server is killed together with a part of its clients, which do not come back.

use headcount::proto::{GetWorkloadRequest, Workload, workload_service_client::WorkloadServiceClient};

use crate::{
    BOUND,
    fleet::Fleet,
    member::{DesiredState, Presence},
    support::{Server, Signal},
    verifier::Verifier,
};

const PROXIES: usize = 200;
const LOST: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_that_died_with_the_server_stay_registered() {
    let mut server = Server::start_durable("").await;
    let fleet = Fleet::launch(server.grpc, "web", PROXIES, 1);
    let mut verifier = Verifier::new(server.grpc, server.http);
    verifier.expect("all are connected", &fleet.expected(), BOUND).await;
    server.wait_until_stored().await;
    let before = workload(&server).await;

    server.stop(Signal::KILL).await;
    let lost = DesiredState { presence: Presence::Reset, healthy: true };
    (0..LOST).for_each(|member| fleet.set(member, lost));
    server.start_again().await;
    assert_eq!(fleet.expected(), [("web-0".to_owned(), [150, 150, 200])].into());
    verifier.expect("150 of 200 are back", &fleet.expected(), BOUND).await;
    let after = workload(&server).await;
    assert_eq!((after.uid, after.creation_time), (before.uid, before.creation_time));
    assert_eq!(verifier.observed().total_falls, 0, "no proxy was forgotten meanwhile");
}

async fn workload(server: &Server) -> Workload {
    let request = GetWorkloadRequest { name: "web-0".to_owned(), ..GetWorkloadRequest::default() };
    let found = WorkloadServiceClient::new(server.connect().await).get_workload(request).await.unwrap();
    found.into_inner().workload.expect("a Workload")
}
