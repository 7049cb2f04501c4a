//! The HTTP port: probes, metrics, and invalid requests.

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    raw::read_until_closed,
    support::{Server, http_get, in_time, still_serves},
};

#[tokio::test]
async fn the_probe_endpoints_return_ok() {
    let server = Server::start().await;
    for (path, expected) in [
        ("/livez", (200, "ok\n")),
        ("/readyz", (200, "ok\n")),
        ("/readyz?verbose", (200, "[+]ready ok\n[+]warming ok\nreadyz check passed\n")),
        ("/", (200, "headcount: /metrics /livez /readyz\n")),
        ("/nothing", (404, "")),
    ] {
        let (code, body) = http_get(server.http(), path).await;
        assert_eq!((code, body.as_str()), expected, "{path}");
    }
}

#[tokio::test]
async fn invalid_requests_are_rejected_and_do_not_affect_other_clients() {
    let server = Server::start().await;
    for invalid in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        &[0xff; 2048],
        b"GET / HTTP/1.1\r\nContent-Length: nonsense\r\n\r\n",
    ] {
        let mut io = TcpStream::connect(server.http()).await.unwrap();
        io.write_all(invalid).await.unwrap();
        let response = String::from_utf8_lossy(&read_until_closed(&mut io).await).into_owned();
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 400 "), "{response}");
        assert_eq!(http_get(server.http(), "/livez").await.0, 200);
    }
    let (code, _) = http_get(server.http(), &format!("/{}", "x".repeat(100_000))).await;
    assert_eq!(code, 414);
    still_serves(&server).await;
}

/// More than twice the connection limit. The server closes them after 10 s, but the scrape need not wait.
#[tokio::test]
async fn clients_that_do_not_complete_a_request_do_not_affect_other_clients() {
    let server = Server::start().await;
    let mut slow = Vec::new();
    for start in [&b""[..], b"GET /metrics HTTP/1.1\r\nHost: "].into_iter().cycle().take(600) {
        let io = TcpStream::connect(server.http());
        let mut io = in_time("a connection", io).await.unwrap();
        io.write_all(start).await.unwrap();
        slow.push(io);
    }
    let start = tokio::time::Instant::now();
    assert_eq!(http_get(server.http(), "/readyz").await.0, 200);
    server.scrape().await;
    assert!(start.elapsed() < std::time::Duration::from_secs(4), "{:?}", start.elapsed());
    read_until_closed(&mut slow[0]).await;
    still_serves(&server).await;
}

#[tokio::test]
async fn post_is_not_allowed() {
    let server = Server::start().await;
    let mut io = TcpStream::connect(server.http()).await.unwrap();
    let request =
        "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    io.write_all(request.as_bytes()).await.unwrap();
    let response = String::from_utf8(read_until_closed(&mut io).await).unwrap();
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
}

/// A web page that resolves its own name to loopback must not read the metrics.
#[tokio::test]
async fn a_request_for_another_host_is_forbidden() {
    let server = Server::start().await;
    for (host, status) in [("evil.example", "403"), ("localhost.", "200"), ("127.0.0.1:7101", "200")] {
        let mut io = TcpStream::connect(server.http()).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        io.write_all(request.as_bytes()).await.unwrap();
        let response = String::from_utf8(read_until_closed(&mut io).await).unwrap();
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {response}");
    }
}
