//! The network by itself: what it promises to the worlds that are built on it.

use std::{io, pin::pin, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep, timeout},
};

use super::*;

/// Longer than anything travels.
const A_WHILE: Duration = Duration::from_millis(100);

/// A network of two hosts, and a connection of the first.
async fn connected() -> (Network, Socket, Socket) {
    let network = Network::new(7, 2);
    let mut arrivals = Box::pin(network.listen());
    let (host, life) = network.connect(0).await.unwrap();
    assert_eq!(life, 1);
    let (server, _) = arrivals.next().await.unwrap();
    (network, host, server)
}

/// Says a word, and returns what has come on the other side after a while.
async fn say(from: &mut Socket, to: &mut Socket, word: &str) -> Option<String> {
    from.write_all(word.as_bytes()).await.unwrap();
    hear(to).await
}

async fn hear(socket: &mut Socket) -> Option<String> {
    let mut heard = [0; 64];
    let read = timeout(A_WHILE, socket.read(&mut heard)).await.ok()?.unwrap();
    Some(String::from_utf8_lossy(&heard[..read]).into())
}

/// How a connection ends, if it does.
async fn end(socket: &mut Socket) -> Option<io::Result<usize>> {
    timeout(A_WHILE, socket.read(&mut [0; 64])).await.ok()
}

fn was_reset(end: Option<io::Result<usize>>) -> bool {
    matches!(end, Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset)
}

#[tokio::test(start_paused = true)]
async fn bytes_arrive_in_their_order_and_not_at_once() {
    let (_network, mut host, mut server) = connected().await;
    let sent_at = Instant::now();
    host.write_all(b"a").await.unwrap();
    host.write_all(b"b").await.unwrap();
    assert!(server.read_u8().now_or_never().is_none());
    assert_eq!((server.read_u8().await.unwrap(), server.read_u8().await.unwrap()), (b'a', b'b'));
    let took = sent_at.elapsed();
    assert!(!took.is_zero() && took < A_WHILE, "{took:?}");
    assert_eq!(say(&mut server, &mut host, "c").await.unwrap(), "c");
}

#[tokio::test(start_paused = true)]
async fn a_held_way_delivers_late_and_the_other_way_meanwhile() {
    let (network, mut host, mut server) = connected().await;
    network.set_way(0, Side::Server, Way::Held);
    assert_eq!(say(&mut host, &mut server, "late").await, None);
    assert_eq!(say(&mut server, &mut host, "in time").await.unwrap(), "in time");
    network.heal(0);
    let mut heard = [0; 4];
    timeout(Duration::from_secs(4), server.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"late");
    assert_eq!(say(&mut host, &mut server, "well").await.unwrap(), "well");
}

#[tokio::test(start_paused = true)]
async fn what_a_host_without_power_had_under_way_on_a_held_way_is_lost() {
    let (network, mut host, mut server) = connected().await;
    network.set_way(0, Side::Server, Way::Held);
    host.write_all(b"lost").await.unwrap();
    network.crash(0, Crash::Silent);
    network.heal(0);
    assert!(timeout(Duration::from_secs(4), server.read(&mut [0; 4])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_is_slow_until_it_heals() {
    let (network, mut host, mut server) = connected().await;
    network.set_latency(0, Duration::from_secs(1));
    let sent_at = Instant::now();
    assert_eq!(say(&mut host, &mut server, "a").await, None);
    assert_eq!(server.read_u8().await.unwrap(), b'a');
    assert!((1_000..=1_501).contains(&sent_at.elapsed().as_millis()), "{:?}", sent_at.elapsed());
    network.heal(0);
    assert_eq!(say(&mut host, &mut server, "b").await.unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn what_a_lossy_way_swallows_ends_the_direction_in_silence() {
    let (network, mut host, mut server) = connected().await;
    network.set_way(0, Side::Server, Way::Lossy);
    assert_eq!(say(&mut host, &mut server, "lost").await, None);
    network.heal(0);
    assert_eq!(say(&mut host, &mut server, "after a gap").await, None);
    assert_eq!(say(&mut server, &mut host, "the other way").await.unwrap(), "the other way");
    drop(host);
    assert!(end(&mut server).await.is_none(), "its end is lost as well");
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_when_a_way_becomes_lossy_is_lost() {
    let (network, mut host, mut server) = connected().await;
    host.write_all(b"lost").await.unwrap();
    network.set_way(0, Side::Server, Way::Lossy);
    network.heal(0);
    assert_eq!(say(&mut host, &mut server, "after a gap").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_lossy_way_that_carried_nothing_did_no_harm() {
    let (network, mut host, mut server) = connected().await;
    network.set_way(0, Side::Server, Way::Lossy);
    network.heal(0);
    assert_eq!(say(&mut host, &mut server, "well").await.unwrap(), "well");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_socket_ends_the_other_after_all_it_sent() {
    let (_network, mut host, mut server) = connected().await;
    host.write_all(b"last").await.unwrap();
    drop(host);
    assert_eq!(hear(&mut server).await.unwrap(), "last");
    assert_eq!(end(&mut server).await.unwrap().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_for_both_sides_and_for_one_host_alone() {
    let (network, mut host, mut server) = connected().await;
    network.reset(1);
    assert_eq!(say(&mut host, &mut server, "still here").await.unwrap(), "still here");
    network.reset(0);
    assert!(was_reset(end(&mut host).await) && was_reset(end(&mut server).await));
}

#[tokio::test(start_paused = true)]
async fn a_killed_host_resets_and_one_without_power_says_nothing() {
    for crash in [Crash::Killed, Crash::Silent] {
        let (network, mut host, mut server) = connected().await;
        host.write_all(b"last").await.unwrap();
        network.crash(0, crash);
        assert!(was_reset(end(&mut host).await), "its own tasks end");
        assert!(host.write_all(b"x").await.is_err());
        assert_eq!(hear(&mut server).await.unwrap(), "last");
        match crash {
            Crash::Killed => assert!(was_reset(end(&mut server).await)),
            Crash::Silent => assert!(end(&mut server).await.is_none()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_after_a_reset_never_arrives() {
    let (network, mut host, mut server) = connected().await;
    // So the server's side does not notice yet.
    network.set_way(0, Side::Server, Way::Held);
    network.reset(0);
    server.write_all(b"later").await.unwrap();
    assert!(was_reset(end(&mut host).await));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_killed_refuses_and_one_without_power_is_waited_for() {
    let (network, mut host, _server) = connected().await;
    network.crash_server(Crash::Killed);
    assert!(was_reset(end(&mut host).await));
    let refused = network.connect(0).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

    network.crash_server(Crash::Silent);
    let mut connecting = pin!(network.connect(0));
    assert!(timeout(A_WHILE, &mut connecting).await.is_err());
    let _arrivals = network.listen();
    assert_eq!(connecting.await.unwrap().1, 2, "its second life");
}

#[tokio::test(start_paused = true)]
async fn who_stops_to_listen_refuses() {
    let network = Network::new(7, 1);
    drop(network.listen());
    assert!(network.connect(0).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_opened_when_both_ways_are_whole() {
    for side in [Side::Host, Side::Server] {
        let network = Network::new(7, 2);
        let _arrivals = network.listen();
        network.set_way(0, side, Way::Lossy);
        let mut connecting = pin!(network.connect(0));
        assert!(timeout(A_WHILE, &mut connecting).await.is_err());
        network.connect(1).await.unwrap();
        network.heal(0);
        timeout(A_WHILE, connecting).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_does_not_read_stops_the_writer() {
    let (_network, mut host, mut server) = connected().await;
    let (much, mut read) = (vec![1; 1024 * 1024], vec![0; 1024 * 1024]);
    let mut writing = pin!(host.write_all(&much));
    assert!(timeout(A_WHILE, &mut writing).await.is_err());
    let (written, _) = tokio::join!(writing, server.read_exact(&mut read));
    written.unwrap();
    assert_eq!(read, much);
}

#[tokio::test(start_paused = true)]
async fn latencies_depend_on_the_seed_the_host_and_nothing_else() {
    async fn arrival(seed: u64, before: bool) -> Duration {
        let network = Network::new(seed, 2);
        let _arrivals = network.listen();
        if before {
            network.connect(1).await.unwrap();
        }
        sleep(A_WHILE).await;
        let began = Instant::now();
        network.connect(0).await.unwrap();
        began.elapsed()
    }
    let alone = arrival(1, false).await;
    assert_eq!(alone, arrival(1, true).await);
    let others: Vec<_> = [arrival(2, false).await, arrival(3, false).await, arrival(4, false).await].into();
    assert!(others.iter().any(|other| *other != alone), "{alone:?}, {others:?}");
}
