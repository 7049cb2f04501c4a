//! The HTTP side: probes, and what it takes from strangers.

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    raw::closed,
    support::{Server, http_get, soon, still_serves},
};

#[tokio::test]
async fn probes_are_answered() {
    let server = Server::start().await;
    for (path, expected) in [
        ("/livez", (200, "ok\n")),
        ("/readyz", (200, "ok\n")),
        ("/", (200, "headcount: /metrics /livez /readyz\n")),
        ("/nothing", (404, "")),
    ] {
        let (code, body) = http_get(server.http(), path).await;
        assert_eq!((code, body.as_str()), expected, "{path}");
    }
}

#[tokio::test]
async fn noise_is_refused_and_hurts_nobody() {
    let server = Server::start().await;
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        &[0xff; 2048],
        b"GET / HTTP/1.1\r\nContent-Length: nonsense\r\n\r\n",
    ] {
        let mut io = TcpStream::connect(server.http()).await.unwrap();
        io.write_all(noise).await.unwrap();
        let heard = String::from_utf8_lossy(&closed(&mut io).await).into_owned();
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 400 "), "{heard}");
        assert_eq!(http_get(server.http(), "/livez").await.0, 200);
    }
    let (code, _) = http_get(server.http(), &format!("/{}", "x".repeat(100_000))).await;
    assert_eq!(code, 414);
    still_serves(&server).await;
}

/// As many as leave room for others; they are closed when the time for headers
/// is over, which is too long for a test.
#[tokio::test]
async fn clients_that_send_their_headers_slowly_hurt_nobody() {
    let server = Server::start().await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let io = TcpStream::connect(server.http());
        let mut io = soon("a connection", io).await.unwrap();
        io.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").await.unwrap();
        slow.push(io);
    }
    assert_eq!(http_get(server.http(), "/readyz").await.0, 200);
    server.scrape().await;
    still_serves(&server).await;
}

/// Only reading is offered.
#[tokio::test]
async fn writing_is_not_allowed() {
    let server = Server::start().await;
    let mut io = TcpStream::connect(server.http()).await.unwrap();
    let request = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    io.write_all(request.as_bytes()).await.unwrap();
    let heard = String::from_utf8(closed(&mut io).await).unwrap();
    assert!(heard.starts_with("HTTP/1.1 405 "), "{heard}");
}
