//! What strangers try.

use std::time::Duration;

use http::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{IN_DEFAULT, Server, WORKLOADS, soon};

/// Nobody is authenticated here, so who somebody says to be is no difference.
#[tokio::test]
async fn a_forged_user_is_nobody() {
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
    assert_eq!(server.ask(Method::GET, &path, &forged, "").await.body, plain);
    server.ask(Method::DELETE, &path, &forged, "").await.refuses(405, "MethodNotAllowed", &["read-only"]);
}

/// A page of the web that has a browser ask by a name that leads to this machine.
#[tokio::test]
async fn only_who_asks_for_this_machine_is_answered() {
    let server = Server::start().await;
    for path in [WORKLOADS, "/apis", "/version", "/readyz"] {
        let raw =
            raw(&server, format!("GET {path} HTTP/1.1\r\nHost: rebound.example:7102\r\n\r\n").as_bytes())
                .await;
        assert!(raw.starts_with("HTTP/1.1 403 "), "{raw}");
        assert!(raw.contains(r#""reason":"Forbidden""#) && raw.contains("rebound.example"), "{raw}");
        let own =
            self::raw(&server, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
        assert!(own.starts_with("HTTP/1.1 200 "), "{own}");
    }
}

/// Sends bytes and hears the beginning of the answer.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut io = TcpStream::connect(server.addr()).await.unwrap();
    io.write_all(bytes).await.unwrap();
    let mut heard = vec![0; 4_096];
    let read = soon("an answer", io.read(&mut heard)).await.unwrap_or(0);
    String::from_utf8_lossy(&heard[..read]).into_owned()
}

#[tokio::test]
async fn noise_is_refused_and_hurts_nobody() {
    let server = Server::start().await;
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /apis HTTP/9.9\r\n\r\n",
        &[0xff; 2_048],
        b"GET / HTTP/1.1\r\nContent-Length: nonsense\r\n\r\n",
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)).as_bytes(),
        format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000)).as_bytes(),
    ] {
        let heard = raw(&server, noise).await;
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 4"), "{heard}");
        assert_eq!(server.get("/livez").await.code, 200);
    }
}

/// What comes with a GET is no reason to refuse it; what comes with a write is
/// read, so that the refusal is heard and the connection can be used again.
#[tokio::test]
async fn bodies_are_taken_in_and_not_looked_at() {
    let server = Server::start().await;
    let _proxy = server.join("web", 1);
    let path = format!("{IN_DEFAULT}/web");
    for body in ["{}", "\u{0}", &"x".repeat(1_000_000)] {
        assert_eq!(server.ask(Method::GET, &path, &[], body).await.code, 200);
        server.ask(Method::POST, IN_DEFAULT, &[], body).await.refuses(405, "MethodNotAllowed", &["create"]);
    }
    let io = TcpStream::connect(server.addr()).await.unwrap();
    let (mut read, mut write) = io.into_split();
    let (host, body) = (server.addr(), "x".repeat(1_000_000));
    let first =
        format!("POST {IN_DEFAULT} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let both = format!("{first}GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let written = tokio::spawn(async move { write.write_all(both.as_bytes()).await.map(|()| write) });
    let mut heard = String::new();
    soon("both answers", read.read_to_string(&mut heard)).await.unwrap();
    soon("all is written", written).await.unwrap().unwrap();
    assert!(heard.starts_with("HTTP/1.1 405 ") && heard.contains("HTTP/1.1 200 OK"), "{heard}");
}

#[tokio::test]
async fn a_body_without_end_is_answered_and_cut() {
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
    let mut answer = vec![0; 64];
    let count = soon("an answer", read.read(&mut answer)).await.unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 405 "), "{}", String::from_utf8_lossy(&answer));
    drop(read);
    let sent = soon("the end of the flood", flood).await.unwrap();
    assert!(sent < 100_000_000, "{sent}");
}

/// A watcher that reads nothing is not written to without bound, and others are
/// told all the same.
#[tokio::test]
async fn a_watcher_that_never_reads_slows_nobody() {
    let server = Server::start().await;
    let mut deaf = TcpStream::connect(server.addr()).await.unwrap();
    let host = server.addr();
    deaf.write_all(format!("GET {WORKLOADS}?watch=true HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut watch = server.watch(&format!("{WORKLOADS}?watch=true&resourceVersion={}", server.head())).await;
    let mut last = Vec::new();
    for number in 0..2_000 {
        last.push(server.join(&format!("w{}", number % 10), number));
    }
    let head = server.head();
    while watch.event().await.revision < head {}
    tokio::time::timeout(Duration::from_millis(1), deaf.read_u8()).await.ok();
    assert_eq!(server.get("/livez").await.code, 200);
}
