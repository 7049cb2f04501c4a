//! A client that opens TLS connections without end is refused before the handshake, and no other client is.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use headcount::proto::{ListWorkloadsRequest, workload_service_client::WorkloadServiceClient};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{Request, transport::Endpoint};

use crate::{secured::Secured, support::DEADLINE};

/// An attacker, and clients behind one address.
const MALLORY: [u8; 4] = [127, 0, 0, 66];
const AGENTS: [u8; 4] = [127, 0, 0, 77];
/// One unauthenticated connection per second and address, and so many at once.
const FLAGS: &str = "--max-unauthenticated-connection-rate 1";
const BURST: usize = 10;

/// Connects to an address of the server from another one.
async fn connect(
    secured: &Secured,
    address: SocketAddr,
    from: [u8; 4],
    alpn: &[u8],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(secured.ca.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let socket = TcpSocket::new_v4()?;
    socket.bind((IpAddr::from(from), 0).into())?;
    let (tls, name) = (TlsConnector::from(Arc::new(config)), ServerName::IpAddress(address.ip().into()));
    let connection = async { tls.connect(name, socket.connect(address).await?).await };
    timeout(DEADLINE, connection).await.expect("a handshake or a refusal in time")
}

/// Completes a handshake, ends the connection and waits until the server has ended it too.
async fn handshake(secured: &Secured, address: SocketAddr, from: [u8; 4], alpn: &[u8]) -> io::Result<()> {
    let mut stream = connect(secured, address, from, alpn).await?;
    stream.shutdown().await?;
    let _end = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await.expect("the end");
    Ok(())
}

/// Sends a GET on a connection of its own, and returns the response.
async fn get(
    secured: &Secured,
    address: SocketAddr,
    from: [u8; 4],
    path: &str,
    token: &str,
) -> io::Result<String> {
    let mut stream = connect(secured, address, from, b"http/1.1").await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut response)).await.expect("the response in time")?;
    Ok(response)
}

/// Lists the workloads on a connection of its own.
async fn list(secured: &Secured, from: [u8; 4], token: &str) -> Result<(), String> {
    let address = secured.server.grpc;
    let stream = connect(secured, address, from, b"h2").await.map_err(|error| error.to_string())?;
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = stream.take();
        async move { stream.ok_or(io::Error::from(io::ErrorKind::NotConnected)) }
    });
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint.connect_with_connector(connector).await.map_err(|error| error.to_string())?;
    let mut request = Request::new(ListWorkloadsRequest::default());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let listed = WorkloadServiceClient::new(channel).list_workloads(request).await;
    listed.map(drop).map_err(|status| status.to_string())
}

#[tokio::test]
async fn handshakes_without_end_are_refused_before_the_next_one() {
    let secured = Secured::start(&["grpc", "http", "kube"], FLAGS).await;
    let [grpc, http, kube] = [secured.server.grpc, secured.server.http, secured.server.kube];
    let token = secured.write_token("ops.token", "user-token", "--name prometheus --group ops").await;
    let token = std::fs::read_to_string(token).unwrap();
    for (address, alpn) in [(grpc, &b"h2"[..]), (http, b"http/1.1"), (kube, b"http/1.1")] {
        let mut handshakes = 0;
        let attack = async {
            while handshake(&secured, address, MALLORY, alpn).await.is_ok() {
                handshakes += 1;
            }
        };
        timeout(DEADLINE, attack).await.expect("a refusal in time");
        assert!(handshakes >= BURST, "{handshakes} at {address}");
    }
    // Authenticated clients behind one address are not limited, however often they connect.
    for _ in 0..3 * BURST {
        list(&secured, AGENTS, &token).await.expect("a response");
        for (address, path) in [(http, "/metrics"), (kube, "/version")] {
            let response = get(&secured, address, AGENTS, path, &token).await.expect("a response");
            assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        }
    }
    let metrics = get(&secured, http, AGENTS, "/metrics", &token).await.unwrap();
    let value = |series: &str| -> usize {
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in\n{metrics}")).parse().unwrap()
    };
    for listener in ["grpc", "http", "kube"] {
        let of = |reason: &str| {
            let labels = format!("{{listener=\"{listener}\",reason=\"{reason}\"}}");
            value(&format!("headcount_unauthenticated_connections_total{labels}"))
        };
        assert!(of("no_request") >= BURST, "{listener}");
        assert_eq!((of("no_caller"), of("refused")), (0, 1), "{listener}");
    }
    assert_eq!(value("headcount_shed_total{limit=\"max-unauthenticated-connection-rate\"}"), 3);
    let failed = metrics.lines().filter(|line| line.starts_with("headcount_tls_handshake_failures_total"));
    let failed: Vec<_> = failed.filter(|line| !line.ends_with(" 0")).collect();
    assert!(failed.is_empty(), "no handshake of a refused connection has begun: {failed:?}");
    let one_for_each = |log: &str| log.matches("had no authenticated request").count() == 3;
    secured.server.program.wait_for_stderr_matching("a line for each listener", one_for_each).await;
}

#[tokio::test]
async fn refused_requests_count_too_and_open_connections_go_on() {
    let secured = Secured::start(&["kube"], FLAGS).await;
    let (kube, ops) = (secured.server.kube, "--name prometheus --group ops");
    let token = secured.write_token("ops.token", "user-token", ops).await;
    let token = std::fs::read_to_string(token).unwrap();
    let mut open = connect(&secured, kube, MALLORY, b"http/1.1").await.unwrap();
    let request = format!("GET /version HTTP/1.1\r\nHost: {kube}\r\nAuthorization: Bearer {token}\r\n\r\n");
    // Sends the request on the open connection, and waits for the beginning of another response.
    let mut received = String::new();
    let mut ask = async |responses: usize| {
        open.write_all(request.as_bytes()).await.unwrap();
        while received.matches("HTTP/1.1 200 ").count() < responses {
            let mut bytes = [0; 4_096];
            let read = timeout(DEADLINE, open.read(&mut bytes)).await.expect("a response in time").unwrap();
            assert!(read > 0, "closed after {received}");
            received.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    };
    ask(1).await;
    let mut refused = 0;
    // Requests with a token that the server does not trust, and health checks, which need no token.
    let attack = async {
        let [paths, statuses] = [["/version", "/livez"], ["HTTP/1.1 401 ", "HTTP/1.1 200 "]];
        while let Ok(response) = get(&secured, kube, MALLORY, paths[refused % 2], "a.b.c").await {
            assert!(response.starts_with(statuses[refused % 2]), "{response}");
            refused += 1;
        }
    };
    timeout(DEADLINE, attack).await.expect("a refusal in time");
    assert!(refused >= BURST, "{refused}");
    ask(2).await;
}
