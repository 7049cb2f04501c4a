//! Connections that never become HTTP/2, or only half.

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    raw::closed,
    support::{Server, soon, still_serves},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const FOR_EVER: Duration = Duration::from_hours(1);

async fn open(server: &Server, say: &[u8]) -> TcpStream {
    let mut io = TcpStream::connect(server.grpc()).await.expect("it listens");
    io.write_all(say).await.expect("it takes bytes");
    io
}

/// Whatever the timeouts are: nothing but the first wrong byte closes them.
#[tokio::test]
async fn what_is_no_http2_is_closed_at_once() {
    let server = Server::with(|config| {
        config.limits.hello_timeout = FOR_EVER;
        config.limits.keepalive_interval = FOR_EVER;
    })
    .await;
    for (what, bytes) in [
        ("TLS", &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..]),
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: headcount\r\n\r\n"),
        ("a preface that goes wrong", b"PRI * HTTP/2.1"),
        ("a preface that ends wrong", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r"),
        ("noise", &[0x8f, 0x00, 0xff, 0x13, 0x37]),
        ("zeros", &[0; 4096]),
    ] {
        let mut io = open(&server, bytes).await;
        assert_eq!(closed(&mut io).await, b"", "{what} is answered with nothing");
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn noise_behind_the_preface_is_closed_at_once() {
    let server = Server::with(|config| config.limits.keepalive_interval = FOR_EVER).await;
    for noise in [&[0xff; 64][..], b"GET / HTTP/1.1\r\nHost: headcount\r\n\r\n"] {
        let mut io = open(&server, &[PREFACE, noise].concat()).await;
        closed(&mut io).await;
        still_serves(&server).await;
    }
}

/// A connection that shows the preface and then is dead is noticed by the PINGs
/// that it does not answer.
#[tokio::test]
async fn a_preface_and_then_nothing_is_closed() {
    let server = Server::with(|config| {
        config.limits.keepalive_interval = Duration::from_millis(200);
        config.limits.keepalive_timeout = Duration::from_millis(200);
    })
    .await;
    for say in [PREFACE.to_vec(), [PREFACE, &SETTINGS].concat()] {
        let mut io = open(&server, &say).await;
        closed(&mut io).await;
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn a_thousand_half_open_connections_are_closed_in_time_and_hurt_nobody() {
    let server = Server::with(|config| config.limits.hello_timeout = Duration::from_millis(700)).await;
    let mut open_ones = Vec::new();
    for n in 0..1_000 {
        let said = [&b""[..], b"P", &PREFACE[..12], &PREFACE[..23]][n % 4];
        open_ones.push(soon("a connection", open(&server, said)).await);
    }
    still_serves(&server).await;
    for io in &mut open_ones {
        assert_eq!(closed(io).await, b"");
    }
    still_serves(&server).await;
}
