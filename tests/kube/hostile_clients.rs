//! Forged users, foreign hosts, invalid HTTP, endless bodies, and watchers that do not read.

use std::time::Duration;

use http::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{IN_DEFAULT, Server, WORKLOADS, soon};

/// The server authenticates nobody, so credentials and user headers change nothing.
#[tokio::test]
async fn forged_users_have_no_effect() {
    let server = Server::start().await;
    let _proxy = server.join("web", 1);
    let path = format!("{IN_DEFAULT}/web");
    let plain = server.get(&path).await.body;
    let forged = [
        ("x-remote-user", "admin"),
        ("x-remote-group", "system:masters"),
        ("authorization", "Bearer x"),
        ("impersonate-user", "system:admin"),
    ];
    assert_eq!(server.request(Method::GET, &path, &forged, "").await.body, plain);
    server.request(Method::DELETE, &path, &forged, "").await.assert_status(
        405,
        "MethodNotAllowed",
        &["read-only"],
    );
}

/// DNS rebinding: a web page makes a browser connect through a name that resolves to this machine.
#[tokio::test]
async fn requests_for_other_hosts_are_rejected() {
    let server = Server::start().await;
    for path in [WORKLOADS, "/apis", "/version", "/readyz"] {
        let get = |host| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let other = send_raw(&server, get("rebound.example:7102").as_bytes()).await;
        assert!(other.starts_with("HTTP/1.1 403 "), "{other}");
        assert!(other.contains(r#""reason":"Forbidden""#) && other.contains("rebound.example"), "{other}");
        let local = send_raw(&server, get("localhost").as_bytes()).await;
        assert!(local.starts_with("HTTP/1.1 200 "), "{local}");
    }
}

/// Sends bytes on a new connection, and returns the beginning of the response.
async fn send_raw(server: &Server, bytes: &[u8]) -> String {
    let mut io = TcpStream::connect(server.addr()).await.unwrap();
    io.write_all(bytes).await.unwrap();
    let mut response = vec![0; 4_096];
    let read = soon("a response", io.read(&mut response)).await.unwrap_or(0);
    String::from_utf8_lossy(&response[..read]).into_owned()
}

#[tokio::test]
async fn invalid_http_is_rejected_and_the_server_keeps_serving() {
    let server = Server::start().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /apis HTTP/9.9\r\n\r\n",
        &[0xff; 2_048],
        b"GET / HTTP/1.1\r\nContent-Length: nonsense\r\n\r\n",
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)).as_bytes(),
        format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000)).as_bytes(),
    ] {
        let response = send_raw(&server, bytes).await;
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 4"), "{response}");
        assert_eq!(server.get("/livez").await.code, 200);
    }
}

/// A body does not affect a GET. The body of a rejected write is read, so that the client reads
/// the response, and can reuse the connection.
#[tokio::test]
async fn bodies_are_read_and_ignored() {
    let server = Server::start().await;
    let _proxy = server.join("web", 1);
    let path = format!("{IN_DEFAULT}/web");
    for body in ["{}", "\u{0}", &"x".repeat(1_000_000)] {
        assert_eq!(server.request(Method::GET, &path, &[], body).await.code, 200);
        server.request(Method::POST, IN_DEFAULT, &[], body).await.assert_status(
            405,
            "MethodNotAllowed",
            &["create"],
        );
    }
    let io = TcpStream::connect(server.addr()).await.unwrap();
    let (mut read, mut write) = io.into_split();
    let (host, body) = (server.addr(), "x".repeat(1_000_000));
    let first =
        format!("POST {IN_DEFAULT} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let both = format!("{first}GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let written = tokio::spawn(async move { write.write_all(both.as_bytes()).await.map(|()| write) });
    let mut responses = String::new();
    soon("both responses", read.read_to_string(&mut responses)).await.unwrap();
    soon("the end of the writes", written).await.unwrap().unwrap();
    assert!(responses.starts_with("HTTP/1.1 405 ") && responses.contains("HTTP/1.1 200 OK"), "{responses}");
}

#[tokio::test]
async fn an_endless_body_gets_a_response_and_its_connection_is_closed() {
    let server = Server::start().await;
    let mut io = TcpStream::connect(server.addr()).await.unwrap();
    let head = format!(
        "POST {IN_DEFAULT} HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000000000\r\n\r\n",
        server.addr()
    );
    io.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = io.into_split();
    let flood = tokio::spawn(async move {
        let (mut sent, chunk) = (0_usize, vec![b'x'; 65_536]);
        while write.write_all(&chunk).await.is_ok() {
            sent += 65_536;
        }
        sent
    });
    let mut response = vec![0; 64];
    let count = soon("a response", read.read(&mut response)).await.unwrap();
    assert!(response[..count].starts_with(b"HTTP/1.1 405 "), "{}", String::from_utf8_lossy(&response));
    drop(read);
    let sent = soon("the end of the flood", flood).await.unwrap();
    assert!(sent < 100_000_000, "{sent}");
}

/// What the server buffers for a watcher that does not read is bounded, and other watchers get
/// their events.
#[tokio::test]
async fn a_watcher_that_never_reads_delays_no_other() {
    let server = Server::start().await;
    let mut blocked = TcpStream::connect(server.addr()).await.unwrap();
    let host = server.addr();
    blocked
        .write_all(format!("GET {WORKLOADS}?watch=true HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut watch = server.watch(&format!("{WORKLOADS}?watch=true&resourceVersion={}", server.head())).await;
    let mut sessions = Vec::new();
    for number in 0..2_000 {
        sessions.push(server.join(&format!("w{}", number % 10), number));
    }
    let head = server.head();
    while watch.event().await.revision < head {}
    tokio::time::timeout(Duration::from_millis(1), blocked.read_u8()).await.ok();
    assert_eq!(server.get("/livez").await.code, 200);
}
