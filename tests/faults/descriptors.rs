//! A server without free file descriptors.

use std::{io, net::SocketAddr};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    BOUND,
    custom_server::{CustomServer, with_descriptors},
    fleet::{CountsByWorkload, Fleet},
    member::{DesiredState, Presence},
    support::{DEADLINE, get},
    verifier::Verifier,
};

/// Limit of file descriptors. gRPC may use three quarters of them: 96 connections.
const DESCRIPTORS: u32 = 128;
/// Members that fit, together with the connection of the watch.
const ADMITTED: usize = 95;
/// Members that start later and do not fit.
const LATE: usize = 60;
/// Number of standard streams. With this limit the process keeps its descriptors and gets no new ones.
const STANDARD_STREAMS: u64 = 3;

/// The expected counts of both fleets.
fn together(fleets: [&Fleet; 2]) -> CountsByWorkload {
    fleets.into_iter().flat_map(Fleet::expected).collect()
}

/// Sixty more clients retry all the time and are rejected. No admitted session is lost, the HTTP server
/// responds, and when some sessions end, as many new ones are admitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_at_its_connection_limit_rejects_new_clients_and_loses_no_session() {
    let server = CustomServer::start(None, |serve| with_descriptors(DESCRIPTORS, &serve)).await;
    let mut verifier = Verifier::new(server.grpc, server.http);
    verifier.wait_for_steps(1).await;
    let fleet = Fleet::launch(server.grpc, "admitted", ADMITTED, 5);
    verifier.expect_watch("all admitted", &fleet.expected(), BOUND).await;

    let late = Fleet::launch(server.grpc, "late", LATE, 1);
    server.program.wait_for_stderr("max-connections is reached").await;
    for _ in 0..20 {
        assert_eq!(get(server.http, "/livez").await, Some((200, "ok\n".to_owned())));
    }
    late.set_all(DesiredState { presence: Presence::Reset, healthy: true });
    // List would need another connection; the watch and the metrics have theirs.
    assert_eq!(verifier.scrape().await, fleet.expected());
    assert_eq!(verifier.observed().counts, fleet.expected());
    assert_eq!(verifier.observed().falls, 0, "no admitted session was lost");

    let leave = DesiredState { presence: Presence::Closed, healthy: true };
    (0..LATE + 5).for_each(|member| fleet.set(member, leave));
    late.set_all(DesiredState::HEALTHY);
    verifier.expect("some left, as many were admitted", &together([&fleet, &late]), BOUND).await;
}

/// No descriptor is left, as if another part of the process had used them up. New connections wait, open
/// sessions continue, and afterwards all clients are admitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_descriptors_serves_open_sessions() {
    let server = CustomServer::start(None, |serve| serve).await;
    let mut verifier = Verifier::new(server.grpc, server.http);
    let fleet = Fleet::launch(server.grpc, "admitted", ADMITTED, 5);
    verifier.expect("all admitted", &fleet.expected(), BOUND).await;
    let mut scraper = Scraper::connect(server.http).await;
    scraper.expect_alive().await;

    let before = set_descriptor_limit(&server, STANDARD_STREAMS);
    let late = Fleet::launch(server.grpc, "late", LATE, 1);
    server.program.wait_for_stderr("can't accept a connection").await;
    fleet.flip_health(0);
    verifier.expect_watch("open sessions", &fleet.expected(), BOUND).await;
    scraper.expect_alive().await;
    assert_eq!(verifier.observed().falls, 0, "no admitted session was lost");

    set_descriptor_limit(&server, before);
    verifier.expect("all admitted", &together([&fleet, &late]), BOUND).await;
}

/// Sets the limit of file descriptors of the server, and returns the previous one.
fn set_descriptor_limit(server: &CustomServer, descriptors: u64) -> u64 {
    let process = Pid::from_raw(server.program.id().cast_signed());
    // The server inherited its hard limit, which stays.
    let new = Rlimit { current: Some(descriptors), ..getrlimit(Resource::Nofile) };
    prlimit(process, Resource::Nofile, new).expect("a child process").current.expect("a limit")
}

/// An HTTP client that keeps its connection open.
struct Scraper(TcpStream);

impl Scraper {
    async fn connect(http: SocketAddr) -> Self {
        Self(TcpStream::connect(http).await.expect("the server listens"))
    }

    async fn expect_alive(&mut self) {
        let request = async {
            self.0.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
            let (mut response, mut buffer) = (String::new(), [0; 1_024]);
            while !response.ends_with("\r\n\r\nok\n") {
                match self.0.read(&mut buffer).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => response.push_str(&String::from_utf8_lossy(&buffer[..read])),
                }
            }
            Ok::<_, io::Error>(())
        };
        timeout(DEADLINE, request).await.expect("a response in time").expect("a response");
    }
}
