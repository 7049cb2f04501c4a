use std::future::pending;

use axum::routing::get;
use futures_util::stream;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::mpsc,
    task::JoinHandle,
    time::Instant,
};

use super::*;
use crate::net::places::PlaceLimits;
use crate::runtime::captured_log::CapturedLog;

const PLACES: PlaceLimits = PlaceLimits { total: 4, per_address: None, unauthenticated_rate: None };

const LIMITS: ConnectionLimits = ConnectionLimits {
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_mins(1),
    max_age: Duration::from_hours(1),
    grace: Duration::from_hours(1),
    max_buffer: 8 * 1024,
    max_headers: 100,
};

/// A server, and what it has shed.
struct Server {
    incoming: mpsc::UnboundedSender<(DuplexStream, SocketAddr)>,
    shed: mpsc::UnboundedReceiver<Shed>,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
}

impl Server {
    /// Serves `/` at once and `/slow` after half an hour. With `tls`, handshakes never complete.
    fn start(tls: bool) -> Self {
        let (incoming, accepted) = mpsc::unbounded_channel();
        let accepted =
            stream::unfold(accepted, |mut accepted| async { Some((accepted.recv().await?, accepted)) });
        let handshake = move |io: DuplexStream, peer| async move {
            if tls { pending().await } else { no_handshake(io, peer).await }
        };
        let slow = || async {
            sleep(Duration::from_mins(30)).await;
            "slow"
        };
        let router = Router::new().route("/", get(|| async { "ok" })).route("/slow", get(slow));
        let (on_shed, shed) = mpsc::unbounded_channel();
        let on_shed = move |_, shed| on_shed.send(shed).unwrap();
        let shutdown = CancellationToken::new();
        let places = Places::new(PLACES, drop);
        let served = serve(accepted, handshake, router, places, LIMITS, on_shed, shutdown.clone());
        let served = tokio::spawn(served);
        Self { incoming, shed, shutdown, served }
    }

    fn connect(&self) -> DuplexStream {
        let (near, far) = duplex(4_096);
        self.incoming.send((far, SocketAddr::from(([10, 0, 0, 1], 1)))).unwrap();
        near
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Reads one response, and returns its status line.
async fn response(client: &mut DuplexStream) -> String {
    let mut received = Vec::new();
    while !received.ends_with(b"ok") && !received.ends_with(b"slow") {
        received.push(client.read_u8().await.unwrap());
    }
    String::from_utf8(received).unwrap().lines().next().unwrap().to_owned()
}

async fn assert_closes(client: &mut DuplexStream) {
    assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_if_its_handshake_or_its_first_request_times_out() {
    for tls in [true, false] {
        let (server, start) = (Server::start(tls), Instant::now());
        let mut client = server.connect();
        assert_closes(&mut client).await;
        assert_eq!(start.elapsed(), LIMITS.header_timeout, "tls: {tls}");
    }
}

/// Sends the bytes of a request, one a second, until the server closes the connection.
async fn drip(client: &mut DuplexStream) {
    for byte in GET {
        if client.write_u8(*byte).await.is_err() {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
    panic!("the server has read the whole request");
}

#[tokio::test(start_paused = true)]
async fn headers_that_take_too_long_close_the_connection_whether_the_request_is_the_first_or_not() {
    let server = Server::start(false);
    for before in [0, 2] {
        let mut client = server.connect();
        for _ in 0..before {
            client.write_all(GET).await.unwrap();
            assert_eq!(response(&mut client).await, "HTTP/1.1 200 OK");
            sleep(LIMITS.idle_timeout.mul_f64(0.9)).await;
        }
        let start = Instant::now();
        drip(&mut client).await;
        let took = start.elapsed();
        assert!(took >= LIMITS.header_timeout, "{took:?} after {before} requests");
        assert!(took <= LIMITS.header_timeout + Duration::from_secs(1), "{took:?} after {before} requests");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_its_timeout_and_a_slow_response_is_not_cut() {
    let server = Server::start(false);
    let mut client = server.connect();
    client.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(response(&mut client).await, "HTTP/1.1 200 OK");
    let start = Instant::now();
    assert_closes(&mut client).await;
    assert_eq!(start.elapsed(), LIMITS.idle_timeout);
}

#[tokio::test(start_paused = true)]
async fn connections_that_send_nothing_keep_nobody_out() {
    for tls in [false, true] {
        let mut server = Server::start(tls);
        let mut silent: Vec<_> = (0..2 * PLACES.total).map(|_| server.connect()).collect();
        let start = Instant::now();
        assert_closes(&mut silent[0]).await;
        assert_eq!(server.shed.recv().await, Some(Shed::Replaced(Full::Address)));
        if !tls {
            let mut client = server.connect();
            client.write_all(GET).await.unwrap();
            assert_eq!(response(&mut client).await, "HTTP/1.1 200 OK");
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_exactly_one_host_is_rejected_and_closes_the_connection() {
    let server = Server::start(false);
    for hosts in ["", "Host: a\r\nHost: b\r\n", "Host: a b\r\n"] {
        let mut client = server.connect();
        client.write_all(format!("GET / HTTP/1.1\r\n{hosts}\r\n").as_bytes()).await.unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{hosts:?}: {response}");
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_neither_for_handshakes_nor_for_requests_that_have_not_arrived() {
    for tls in [true, false] {
        let server = Server::start(tls);
        let mut client = server.connect();
        client.write_all(&GET[..8]).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        server.shutdown.cancel();
        let start = Instant::now();
        server.served.await.unwrap();
        assert!(start.elapsed() <= LIMITS.header_timeout, "tls: {tls}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn tls_without_tls_is_logged_with_the_remedy() {
    let (log, server) = (CapturedLog::start(), Server::start(false));
    let mut client = server.connect();
    client.write_all(&[22, 3, 1, 0, 4, 1, 0, 0, 0, 13, 10, 13, 10]).await.unwrap();
    client.read_to_end(&mut Vec::new()).await.unwrap();
    let mut client = server.connect();
    client.write_all(GET).await.unwrap();
    response(&mut client).await;
    assert_eq!(log.with("sent TLS to an HTTP address without TLS: it must connect with http").len(), 1);
}
