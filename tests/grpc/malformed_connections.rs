//! Connections that do not become HTTP/2, or not completely.

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    raw::read_until_closed,
    support::{Server, in_time, still_serves},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const FOREVER: Duration = Duration::from_hours(1);

async fn connect_and_send(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut io = TcpStream::connect(server.grpc()).await.expect("the server listens");
    io.write_all(bytes).await.expect("an open connection");
    io
}

/// The timeouts are long, so only the first wrong byte can have closed the connection.
#[tokio::test]
async fn a_connection_that_is_not_http2_is_closed_at_once() {
    let server = Server::with(|config| {
        config.limits.hello_timeout = FOREVER;
        config.limits.keepalive_interval = FOREVER;
    })
    .await;
    for (what, bytes) in [
        ("TLS", &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..]),
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: headcount\r\n\r\n"),
        ("a preface with a wrong byte", b"PRI * HTTP/2.1"),
        ("a preface with a wrong last byte", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r"),
        ("random bytes", &[0x8f, 0x00, 0xff, 0x13, 0x37]),
        ("zeros", &[0; 4096]),
    ] {
        let mut io = connect_and_send(&server, bytes).await;
        assert_eq!(read_until_closed(&mut io).await, b"", "{what}: the server sends nothing");
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn invalid_frames_after_the_preface_close_the_connection_at_once() {
    let server = Server::with(|config| config.limits.keepalive_interval = FOREVER).await;
    for invalid in [&[0xff; 64][..], b"GET / HTTP/1.1\r\nHost: headcount\r\n\r\n"] {
        let mut io = connect_and_send(&server, &[PREFACE, invalid].concat()).await;
        read_until_closed(&mut io).await;
        still_serves(&server).await;
    }
}

/// The keepalive closes a connection that stops responding after its preface.
#[tokio::test]
async fn a_connection_that_is_silent_after_its_preface_is_closed() {
    let server = Server::with(|config| {
        config.limits.keepalive_interval = Duration::from_millis(200);
        config.limits.keepalive_timeout = Duration::from_millis(200);
    })
    .await;
    for bytes in [PREFACE.to_vec(), [PREFACE, &SETTINGS].concat()] {
        let mut io = connect_and_send(&server, &bytes).await;
        read_until_closed(&mut io).await;
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn a_thousand_half_open_connections_are_closed_and_do_not_affect_other_clients() {
    let server = Server::with(|config| config.limits.hello_timeout = Duration::from_millis(700)).await;
    let mut half_open = Vec::new();
    for n in 0..1_000 {
        let bytes = [&b""[..], b"P", &PREFACE[..12], &PREFACE[..23]][n % 4];
        half_open.push(in_time("a connection", connect_and_send(&server, bytes)).await);
    }
    still_serves(&server).await;
    for io in &mut half_open {
        assert_eq!(read_until_closed(io).await, b"");
    }
    still_serves(&server).await;
}
