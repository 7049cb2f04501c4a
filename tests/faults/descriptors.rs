//! A server that is out of file descriptors.

use std::{io, net::SocketAddr};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    PROMISE,
    fleet::{Fleet, Numbers},
    member::{Order, Presence},
    place::{Served, with_descriptors},
    support::{DEADLINE, get},
    truth::Truth,
};

/// Of which a quarter is kept from gRPC: 96 connections.
const DESCRIPTORS: u32 = 128;
/// They and the watch are all that fits.
const IN: usize = 95;
const LATE: usize = 60;
/// Input, output, errors: with a limit of these no other descriptor is given
/// out, though those that were stay.
const STANDARD: u64 = 3;

/// What all fleets together must amount to. Whoever was never let in is not
/// registered either.
fn together(fleets: [&Fleet; 2]) -> Numbers {
    fleets.into_iter().flat_map(Fleet::numbers).collect()
}

/// Sixty more knock again and again, and are told to go away. Nobody who is in
/// is lost, HTTP answers, and when some leave, as many come in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_refuses_loses_nobody_and_recovers() {
    let server = Served::start(None, |serve| with_descriptors(DESCRIPTORS, &serve)).await;
    let mut truth = Truth::of(server.grpc, server.http);
    truth.moves(1).await;
    let fleet = Fleet::launch(server.grpc, "in", IN, 5);
    truth.shows("a full house", &fleet.numbers(), PROMISE).await;

    let late = Fleet::launch(server.grpc, "late", LATE, 1);
    server.program.wait_for_stderr("max-connections is reached").await;
    for _ in 0..20 {
        assert_eq!(get(server.http, "/livez").await, Some((200, "ok\n".to_owned())));
    }
    late.tell_all(Order { presence: Presence::Reset, healthy: true });
    // List has no connection to come in by; the watch and the metrics have.
    assert_eq!(truth.scraped().await, fleet.numbers());
    assert_eq!(truth.shown().numbers, fleet.numbers());
    assert_eq!(truth.shown().falls, 0, "nobody who was in has left");

    let leave = Order { presence: Presence::Closed, healthy: true };
    (0..LATE + 5).for_each(|member| fleet.tell(member, leave));
    late.tell_all(Order::WELL);
    truth.is("some left, as many came in", &together([&fleet, &late]), PROMISE).await;
}

/// Not one descriptor is left, as when something else in the process has taken
/// them: new ones wait, those who are in are served, and all come in afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_any_descriptor_serves_who_is_in() {
    let server = Served::start(None, |serve| serve).await;
    let mut truth = Truth::of(server.grpc, server.http);
    let fleet = Fleet::launch(server.grpc, "in", IN, 5);
    truth.is("all are in", &fleet.numbers(), PROMISE).await;
    let mut scraper = Scraper::connect(server.http).await;
    scraper.finds_it_alive().await;

    let before = limit_to(&server, STANDARD);
    let late = Fleet::launch(server.grpc, "late", LATE, 1);
    server.program.wait_for_stderr("can't accept a connection").await;
    fleet.flip(0);
    truth.shows("those who are in", &fleet.numbers(), PROMISE).await;
    scraper.finds_it_alive().await;
    assert_eq!(truth.shown().falls, 0, "nobody who was in has left");

    limit_to(&server, before);
    truth.is("all come in", &together([&fleet, &late]), PROMISE).await;
}

/// What the limit was.
fn limit_to(server: &Served, descriptors: u64) -> u64 {
    let process = Pid::from_raw(server.program.id().cast_signed());
    // The hard limit stays, which it has from us.
    let new = Rlimit { current: Some(descriptors), ..getrlimit(Resource::Nofile) };
    prlimit(process, Resource::Nofile, new).expect("it is our own").current.expect("a limit")
}

/// One that keeps its connection.
struct Scraper(TcpStream);

impl Scraper {
    async fn connect(http: SocketAddr) -> Self {
        Self(TcpStream::connect(http).await.expect("it listens"))
    }

    async fn finds_it_alive(&mut self) {
        let ask = async {
            self.0.write_all(b"GET /livez HTTP/1.1\r\nHost: headcount\r\n\r\n").await?;
            let (mut answer, mut some) = (String::new(), [0; 1_024]);
            while !answer.ends_with("\r\n\r\nok\n") {
                match self.0.read(&mut some).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => answer.push_str(&String::from_utf8_lossy(&some[..read])),
                }
            }
            Ok::<_, io::Error>(())
        };
        timeout(DEADLINE, ask).await.expect("in time").expect("an answer");
    }
}
