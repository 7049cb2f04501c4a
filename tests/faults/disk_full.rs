//! A server that can't write to its data directory goes on serving, and stores everything when it can again.

use headcount::proto::{Hello, Inbound};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::{
    BOUND,
    fleet::{CountsByWorkload, Fleet},
    session::Session,
    small_disk::SmallDisk,
    support::{Server, Signal, Site, dataplane, get},
    verifier::Verifier,
};

/// Proxies that connect before the fault.
const EARLY: usize = 20;
/// Proxies that connect during the fault, each with a large registration: together 2 MB, for which the
/// files must grow.
const LATE: usize = 60;
const INBOUNDS: u32 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_goes_on_while_its_disk_is_full() {
    let site = Site::new();
    let Some(disk) = SmallDisk::new(&site).await else { return };
    let flags = format!("--data-dir {}", disk.path.join("data").display());
    let server = Server::start_in(disk.wrapper(), site, &flags).await;
    goes_on(server, |_| disk.fill(), |_| disk.free()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_goes_on_while_its_files_may_not_grow() {
    let site = Site::new();
    let flags = format!("--data-dir {}", site.path("data").display());
    // At the limit the kernel sends SIGXFSZ, which ends a process that does not handle it.
    let server = Server::start_in(Vec::new(), site, &flags).await;
    // The server inherited its hard limit, which stays.
    let inherited = getrlimit(Resource::Fsize);
    let set = |server: &Server, current| {
        let process = Pid::from_raw(server.program.id().cast_signed());
        prlimit(process, Resource::Fsize, Rlimit { current, ..inherited }).expect("a child process");
    };
    goes_on(server, |server| set(server, Some(0)), |server| set(server, inherited.current)).await;
}

/// Prevents writing and allows it again, while proxies connect, and restarts the server afterwards.
async fn goes_on(mut server: Server, prevent: impl Fn(&Server), allow: impl Fn(&Server)) {
    let fleet = Fleet::launch(server.grpc, "early", EARLY, 2);
    let mut verifier = Verifier::new(server.grpc, server.http);
    verifier.expect("early proxies", &fleet.expected(), BOUND).await;
    server.wait_until_stored().await;
    assert_eq!(server.metric("headcount_store_failing").await, Some(0));

    prevent(&server);
    let late = connect_late(&server).await;
    let with_late = |counts| fleet.expected().into_iter().chain([("late".to_owned(), counts)]);
    let all = u32::try_from(LATE).expect("few");
    let expected: CountsByWorkload = with_late([all, 0, all]).collect();
    verifier.expect("late proxies, while nothing can be stored", &expected, BOUND).await;
    server.program.wait_for_stderr("can't be stored").await;
    // It tries again and again, and reports the error once.
    server.wait_for_metric("headcount_store_failures_total", |failures| failures >= 3).await;
    assert_eq!(server.metric("headcount_store_failing").await, Some(1));
    assert!(server.metric("headcount_store_pending_records").await >= Some(u64::from(all)));
    assert_eq!(get(server.http, "/readyz").await.map(|(status, _)| status), Some(200));
    fleet.flip_health(0);
    let expected: CountsByWorkload = with_late([all, 0, all]).collect();
    verifier.expect("a change of health, while nothing can be stored", &expected, BOUND).await;

    allow(&server);
    server.program.wait_for_stderr("can be stored again").await;
    server.wait_until_stored().await;
    assert_eq!(server.metric("headcount_store_failing").await, Some(0));

    let ended = server.restart(Signal::KILL).await;
    assert_eq!(ended.err.matches("can't be stored").count(), 1, "{ended}");
    drop(late);
    let expected: CountsByWorkload = with_late([0, 0, all]).collect();
    verifier.expect("after a restart", &expected, BOUND).await;
    assert_eq!(verifier.observed().total_falls, 0, "all of them were stored");
}

/// Opens sessions that never report health.
async fn connect_late(server: &Server) -> Vec<Session> {
    let (channel, mut sessions) = (server.connect().await, Vec::new());
    for number in 0..LATE {
        let mut dataplane = dataplane("default", "late", &format!("late-{number}"));
        let tag = |n: u32| (format!("{number:030}{n:090}"), "x".repeat(120));
        let inbound = |port: u32| Inbound { port, tags: (0..4).map(tag).collect(), ..Inbound::default() };
        dataplane.inbounds = (1..=INBOUNDS).map(inbound).collect();
        let hello = Hello { dataplane: Some(dataplane), ..Hello::default() };
        sessions.push(Session::open(channel.clone(), hello).await.expect("a session"));
    }
    sessions
}
