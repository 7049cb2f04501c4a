//! Tests of the simulated network itself: the guarantees that a simulation relies on.

use std::{io, pin::pin, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep, timeout},
};

use super::*;

/// Longer than any latency of a healed link.
const A_WHILE: Duration = Duration::from_millis(100);

/// A network of two hosts, and the two ends of a connection of the first.
async fn connected() -> (Network, Socket, Socket) {
    let network = Network::new(7, 2);
    let mut incoming = Box::pin(network.listen());
    let (host, incarnation) = network.connect(0).await.unwrap();
    assert_eq!(incarnation, 1);
    let (server, _) = incoming.next().await.unwrap();
    (network, host, server)
}

/// Sends a text, and returns what the other end has received after a while.
async fn send(from: &mut Socket, to: &mut Socket, text: &str) -> Option<String> {
    from.write_all(text.as_bytes()).await.unwrap();
    receive(to).await
}

async fn receive(socket: &mut Socket) -> Option<String> {
    let mut received = [0; 64];
    let read = timeout(A_WHILE, socket.read(&mut received)).await.ok()?.unwrap();
    Some(String::from_utf8_lossy(&received[..read]).into())
}

/// How the connection has ended for this end, if it has.
async fn end(socket: &mut Socket) -> Option<io::Result<usize>> {
    timeout(A_WHILE, socket.read(&mut [0; 64])).await.ok()
}

fn was_reset(end: Option<io::Result<usize>>) -> bool {
    matches!(end, Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset)
}

#[tokio::test(start_paused = true)]
async fn bytes_arrive_in_order_after_the_latency() {
    let (_network, mut host, mut server) = connected().await;
    let sent_at = Instant::now();
    host.write_all(b"a").await.unwrap();
    host.write_all(b"b").await.unwrap();
    assert!(server.read_u8().now_or_never().is_none());
    assert_eq!((server.read_u8().await.unwrap(), server.read_u8().await.unwrap()), (b'a', b'b'));
    let took = sent_at.elapsed();
    assert!(!took.is_zero() && took < A_WHILE, "{took:?}");
    assert_eq!(send(&mut server, &mut host, "c").await.unwrap(), "c");
}

#[tokio::test(start_paused = true)]
async fn a_stranded_connection_answers_pings_and_carries_nothing_else() {
    let (network, mut host, mut server) = connected().await;
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(send(&mut host, &mut server, preface).await.unwrap(), preface);
    network.strand(0);
    let ping = |flags: char| format!("\0\0\x08\x06{flags}\0\0\0\x0012345678");
    for text in ["\0\0\x01\0\0\0\0\0\x01x", &ping('\x01')] {
        assert_eq!(send(&mut host, &mut server, text).await, None);
    }
    for socket in [&mut host, &mut server] {
        socket.write_all(ping('\0').as_bytes()).await.unwrap();
        assert_eq!(receive(socket).await, Some(ping('\x01')));
    }
    drop(host);
    assert!(end(&mut server).await.is_none(), "the proxy does not pass it on");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_direction_delivers_after_the_heal_and_the_other_one_meanwhile() {
    let (network, mut host, mut server) = connected().await;
    network.set_link(0, Side::Server, LinkState::Stalled);
    assert_eq!(send(&mut host, &mut server, "late").await, None);
    assert_eq!(send(&mut server, &mut host, "meanwhile").await.unwrap(), "meanwhile");
    network.heal(0);
    let mut received = [0; 4];
    timeout(Duration::from_secs(4), server.read_exact(&mut received)).await.unwrap().unwrap();
    assert_eq!(&received, b"late");
    assert_eq!(send(&mut host, &mut server, "well").await.unwrap(), "well");
}

#[tokio::test(start_paused = true)]
async fn stalled_bytes_of_a_host_that_loses_power_are_lost() {
    let (network, mut host, mut server) = connected().await;
    network.set_link(0, Side::Server, LinkState::Stalled);
    host.write_all(b"lost").await.unwrap();
    network.crash(0, Crash::PowerLoss);
    network.heal(0);
    assert!(timeout(Duration::from_secs(4), server.read(&mut [0; 4])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_latency_lasts_until_the_heal() {
    let (network, mut host, mut server) = connected().await;
    network.set_latency(0, Duration::from_secs(1));
    let sent_at = Instant::now();
    assert_eq!(send(&mut host, &mut server, "a").await, None);
    assert_eq!(server.read_u8().await.unwrap(), b'a');
    assert!((1_000..=1_501).contains(&sent_at.elapsed().as_millis()), "{:?}", sent_at.elapsed());
    network.heal(0);
    assert_eq!(send(&mut host, &mut server, "b").await.unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn after_lost_bytes_a_direction_delivers_nothing_and_reports_no_error() {
    let (network, mut host, mut server) = connected().await;
    network.set_link(0, Side::Server, LinkState::Dropping);
    assert_eq!(send(&mut host, &mut server, "lost").await, None);
    network.heal(0);
    assert_eq!(send(&mut host, &mut server, "after a gap").await, None);
    assert_eq!(send(&mut server, &mut host, "other direction").await.unwrap(), "other direction");
    drop(host);
    assert!(end(&mut server).await.is_none(), "the end of the direction is lost as well");
}

#[tokio::test(start_paused = true)]
async fn bytes_in_flight_are_lost_when_a_link_starts_to_drop() {
    let (network, mut host, mut server) = connected().await;
    host.write_all(b"lost").await.unwrap();
    network.set_link(0, Side::Server, LinkState::Dropping);
    network.heal(0);
    assert_eq!(send(&mut host, &mut server, "after a gap").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_dropping_link_without_traffic_does_no_harm() {
    let (network, mut host, mut server) = connected().await;
    network.set_link(0, Side::Server, LinkState::Dropping);
    network.heal(0);
    assert_eq!(send(&mut host, &mut server, "well").await.unwrap(), "well");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_socket_ends_the_other_end_after_its_last_bytes() {
    let (_network, mut host, mut server) = connected().await;
    host.write_all(b"last").await.unwrap();
    drop(host);
    assert_eq!(receive(&mut server).await.unwrap(), "last");
    assert_eq!(end(&mut server).await.unwrap().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reset_reaches_both_ends_of_one_hosts_connections_only() {
    let (network, mut host, mut server) = connected().await;
    network.reset(1);
    assert_eq!(send(&mut host, &mut server, "still here").await.unwrap(), "still here");
    network.reset(0);
    assert!(was_reset(end(&mut host).await) && was_reset(end(&mut server).await));
}

#[tokio::test(start_paused = true)]
async fn a_killed_host_resets_its_connections_and_one_that_loses_power_does_not() {
    for crash in [Crash::Killed, Crash::PowerLoss] {
        let (network, mut host, mut server) = connected().await;
        host.write_all(b"last").await.unwrap();
        network.crash(0, crash);
        assert!(was_reset(end(&mut host).await), "the host's own end is reset");
        assert!(host.write_all(b"x").await.is_err());
        assert_eq!(receive(&mut server).await.unwrap(), "last");
        match crash {
            Crash::Killed => assert!(was_reset(end(&mut server).await)),
            Crash::PowerLoss => assert!(end(&mut server).await.is_none()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_sent_after_a_reset_never_arrive() {
    let (network, mut host, mut server) = connected().await;
    // The server's end does not notice the reset yet.
    network.set_link(0, Side::Server, LinkState::Stalled);
    network.reset(0);
    server.write_all(b"later").await.unwrap();
    assert!(was_reset(end(&mut host).await));
}

#[tokio::test(start_paused = true)]
async fn a_killed_server_refuses_connections_and_one_without_power_does_not_answer() {
    let (network, mut host, _server) = connected().await;
    network.crash_server(Crash::Killed);
    assert!(was_reset(end(&mut host).await));
    let refused = network.connect(0).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

    network.crash_server(Crash::PowerLoss);
    let mut connecting = pin!(network.connect(0));
    assert!(timeout(A_WHILE, &mut connecting).await.is_err());
    let _incoming = network.listen();
    assert_eq!(connecting.await.unwrap().1, 2, "the second incarnation");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_listening_refuses_connections() {
    let network = Network::new(7, 1);
    drop(network.listen());
    assert!(network.connect(0).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_connection_opens_once_both_directions_are_up() {
    for side in [Side::Host, Side::Server] {
        let network = Network::new(7, 2);
        let _incoming = network.listen();
        network.set_link(0, side, LinkState::Dropping);
        let mut connecting = pin!(network.connect(0));
        assert!(timeout(A_WHILE, &mut connecting).await.is_err());
        network.connect(1).await.unwrap();
        network.heal(0);
        timeout(A_WHILE, connecting).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_blocks_the_writer() {
    let (_network, mut host, mut server) = connected().await;
    let (much, mut read) = (vec![1; 1024 * 1024], vec![0; 1024 * 1024]);
    let mut writing = pin!(host.write_all(&much));
    assert!(timeout(A_WHILE, &mut writing).await.is_err());
    let (written, _) = tokio::join!(writing, server.read_exact(&mut read));
    written.unwrap();
    assert_eq!(read, much);
}

#[tokio::test(start_paused = true)]
async fn latencies_depend_only_on_the_seed_and_the_host() {
    async fn time_to_connect(seed: u64, other_host_first: bool) -> Duration {
        let network = Network::new(seed, 2);
        let _incoming = network.listen();
        if other_host_first {
            network.connect(1).await.unwrap();
        }
        sleep(A_WHILE).await;
        let began = Instant::now();
        network.connect(0).await.unwrap();
        began.elapsed()
    }
    let alone = time_to_connect(1, false).await;
    assert_eq!(alone, time_to_connect(1, true).await);
    let others: Vec<_> =
        [time_to_connect(2, false).await, time_to_connect(3, false).await, time_to_connect(4, false).await]
            .into();
    assert!(others.iter().any(|other| *other != alone), "{alone:?}, {others:?}");
}
