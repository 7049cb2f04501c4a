//! Clients that take for ever to say what they want.

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet, time::sleep};

use crate::{
    http2::{PREFACE, settings},
    stage::{flood_ends, survives},
};

const DRIPPERS: usize = 300;
/// Between two bytes.
const DRIP: Duration = Duration::from_millis(100);
/// KiB for each.
const PER_DRIPPER: u64 = 60;

/// Says all that at once, and then byte by byte, without reading, until it is cut.
async fn drip(mut io: TcpStream, at_once: usize, bytes: Vec<u8>) {
    let mut said = io.write_all(&bytes[..at_once]).await;
    for byte in &bytes[at_once..] {
        if said.is_err() {
            return;
        }
        sleep(DRIP).await; // is what this client does
        said = io.write_all(&[*byte]).await;
    }
    panic!("it could say all: {} bytes", bytes.len());
}

/// A deadline of 1 s is over before the preface is; and who says it at once and
/// then drips a frame answers no PING, for a frame is not finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_now_and_then() {
    let growth = PER_DRIPPER * u64::try_from(DRIPPERS).expect("a few");
    survives("--hello-timeout 1s --keepalive-interval 1s", growth, async |server| {
        let mut drippers = JoinSet::new();
        for n in 0..DRIPPERS {
            let at_once = if n % 2 == 0 { 0 } else { PREFACE.len() };
            let bytes = [PREFACE, &settings(&[(4, 65_535); 40])].concat();
            let io = TcpStream::connect(server.grpc).await.expect("it listens");
            drippers.spawn(drip(io, at_once, bytes));
        }
        flood_ends(drippers.join_all()).await;
    })
    .await;
}
