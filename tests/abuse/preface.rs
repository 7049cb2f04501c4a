//! Clients that send their first bytes very slowly, or nothing after them.

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet, time::sleep};

use crate::{
    harness::{in_time, survives},
    http2::{PREFACE, settings},
};

const SLOW_CLIENTS: usize = 300;
/// Pause between two bytes.
const PAUSE: Duration = Duration::from_millis(100);
/// KiB.
const GROWTH_PER_CLIENT: u64 = 60;

/// Sends the first `at_once` bytes together and the rest byte by byte, without reading, until the
/// server closes the connection.
async fn send_slowly(mut io: TcpStream, at_once: usize, bytes: Vec<u8>) {
    let mut sent = io.write_all(&bytes[..at_once]).await;
    for byte in &bytes[at_once..] {
        if sent.is_err() {
            return;
        }
        sleep(PAUSE).await; // the abuse itself
        sent = io.write_all(&[*byte]).await;
    }
    panic!("the server has read all {} bytes", bytes.len());
}

/// Half of the clients miss the deadline of 1 s with their preface. The others send the preface at
/// once and then a frame that never ends, so they cannot answer a PING.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_send_a_byte_at_a_time_are_disconnected() {
    let growth = GROWTH_PER_CLIENT * u64::try_from(SLOW_CLIENTS).expect("a small number");
    survives("--hello-timeout 1s --keepalive-interval 1s", growth, async |server| {
        let mut clients = JoinSet::new();
        for n in 0..SLOW_CLIENTS {
            let at_once = if n % 2 == 0 { 0 } else { PREFACE.len() };
            let bytes = [PREFACE, &settings(&[(4, 65_535); 40])].concat();
            let io = TcpStream::connect(server.grpc).await.expect("the server listens");
            clients.spawn(send_slowly(io, at_once, bytes));
        }
        in_time(clients.join_all()).await;
    })
    .await;
}

/// Three times as many connections as the server has places. The background client keeps its
/// connections, and new clients are served at once although no timeout ends the silent ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_clients_keep_nobody_out() {
    let flags = "--max-connections 400 --hello-timeout 10m --keepalive-interval 10m";
    survives(flags, GROWTH_PER_CLIENT * 400, async |server| {
        let mut silent = Vec::new();
        for round in 1..=3 {
            while silent.len() < 400 * round {
                let mut io = TcpStream::connect(server.grpc).await.expect("the server listens");
                if silent.len() % 2 == 0 {
                    io.write_all(&[PREFACE, &settings(&[])].concat()).await.expect("an open connection");
                }
                silent.push(io);
            }
            in_time(server.wait_for_counts("background", [1, 1, 1])).await;
        }
    })
    .await;
}
