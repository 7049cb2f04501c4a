//! Connections to real TLS servers on loopback: each error, and files that are replaced between two
//! connections.

use std::{fs, path::PathBuf};

use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, net::TcpListener, task::JoinSet, time::timeout};
use tonic::Code;

use super::{
    test_server::{TlsServer, config, config_with},
    *,
};
use crate::{
    net::tls::{
        PemFile,
        pki::{Authority, Pair},
    },
    proto::{WatchWorkloadsRequest, workload_service_client::WorkloadServiceClient},
};

/// The files of a client.
struct Files {
    directory: TempDir,
    identity: bool,
    token: bool,
    name: &'static str,
}

impl Files {
    /// A client that trusts `ca`.
    fn new(ca: &Authority) -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
            identity: false,
            token: false,
            name: "localhost",
        };
        files.write("ca.crt", &ca.pem);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn write_identity(&mut self, pair: &Pair) {
        self.write("tls.crt", &pair.cert);
        self.write("tls.key", &pair.key);
        self.identity = true;
    }

    fn endpoint(&self, url: &str) -> ServerEndpoint {
        let identity = self.identity.then(|| {
            [
                PemFile::new("client-cert-file", self.path("tls.crt")),
                PemFile::new("client-key-file", self.path("tls.key")),
            ]
        });
        let name = ClientTls::parse_name(self.name).unwrap();
        let tls = ClientTls::new(PemFile::new("ca-file", self.path("ca.crt")), identity, name);
        let token = self.token.then(|| TokenFile::new(self.path("token")));
        ServerEndpoint::new(url.parse().unwrap(), Some(tls), token)
    }

    /// What is wrong with the connection, at once or during the first call.
    async fn problem(&self, url: &str) -> String {
        let text = match self.endpoint(url).connect().await {
            Ok(connection) => explained(&call(&connection).await),
            Err(error) => explained(&error),
        };
        text.replace(&*self.directory.path().to_string_lossy(), "DIR")
    }

    async fn problem_with(&self, config: ServerConfig) -> String {
        let server = TlsServer::start(config).await;
        self.problem(&server.url()).await
    }
}

fn explained(error: &(dyn std::error::Error + 'static)) -> String {
    ConnectProblem::of(error).unwrap_or_else(|| panic!("no explanation: {error:?}")).to_string()
}

async fn call(connection: &Connection) -> tonic::Status {
    let mut client = WorkloadServiceClient::new(connection.clone());
    match client.watch_workloads(WatchWorkloadsRequest::default()).await {
        Ok(response) => response.into_inner().message().await.unwrap_err(),
        Err(status) => status,
    }
}

/// Asserts that calls reach the server.
#[track_caller]
fn assert_reached(status: &tonic::Status) {
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
}

#[tokio::test]
async fn each_invalid_server_certificate_has_an_error_of_its_own() {
    let ca = Authority::new();
    let files = Files::new(&ca);
    let problem = |pair: Pair| files.problem_with(config(&pair));
    let names = ["localhost"];

    let expired = problem(ca.server_with(&names, |it| it.not_after = date_time_ymd(2020, 1, 1))).await;
    assert!(
        expired.starts_with("the server's certificate expired at 2020-01-01T00:00:00Z: renew it"),
        "{expired}"
    );
    assert!(expired.contains("this machine's clock is at 20"), "{expired}");

    let future = problem(ca.server_with(&names, |it| it.not_before = date_time_ymd(2090, 1, 1))).await;
    assert!(
        future.starts_with("the server's certificate is not valid before 2090-01-01T00:00:00Z"),
        "{future}"
    );

    let other = problem(ca.server(&["a.example", "*.b.example", "10.0.0.1"])).await;
    assert_eq!(
        other,
        "the server's certificate is not for localhost, but for a.example, *.b.example, 10.0.0.1: \
         use a name of its certificate as the host, or set --tls-server-name to one"
    );

    let foreign = problem(Authority::new().server(&names)).await;
    assert!(
        foreign.starts_with("the server's certificate was not issued by a CA in --ca-file DIR/ca.crt: give"),
        "{foreign}"
    );
    let another = Authority::named("another authority");
    let foreign = problem(another.server(&names)).await;
    assert!(foreign.starts_with("the server's certificate was not issued by a CA in --ca-file"), "{foreign}");

    let client = problem(ca.server_with(&names, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    }))
    .await;
    assert!(client.starts_with("the server's certificate is not for servers: issue one with"), "{client}");
}

#[tokio::test]
async fn a_server_without_tls_or_http2_is_recognized() {
    let files = Files::new(&Authority::new());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\0\0\x12\x04\0\0\0\0\0", b""] {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
            // The client has sent its hello when it reads this.
            let mut hello = [0; 1];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut hello).await.unwrap();
            stream.shutdown().await.unwrap();
            drop(tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut Vec::new()).await);
        }
    });
    for _ in 0..2 {
        let problem = files.problem(&format!("https://{address}")).await;
        assert!(problem.starts_with("the server does not speak TLS: check the port, or write"), "{problem}");
    }
    let problem = files.problem(&format!("https://{address}")).await;
    assert!(problem.starts_with("the server closed the connection during the TLS handshake"), "{problem}");

    let ca = Authority::new();
    files.write("ca.crt", &ca.pem);
    let mut http1 = config(&ca.server(&["localhost"]));
    http1.alpn_protocols = Vec::new();
    let problem = files.problem_with(http1.clone()).await;
    assert!(problem.starts_with("the server speaks TLS, but not HTTP/2: check the port"), "{problem}");
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    let problem = files.problem_with(http1).await;
    assert!(problem.starts_with("the server speaks TLS, but not HTTP/2: check the port"), "{problem}");
}

#[tokio::test]
async fn a_plaintext_client_of_a_tls_server_is_referred_to_https() {
    let server = TlsServer::start(config(&Authority::new().server(&["localhost"]))).await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let with_alert = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&[0x15, 0x03, 0x01, 0, 2, 2, 10]).await.unwrap();
        let _end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut Vec::new()).await;
    });
    for (address, expected) in [
        (server.address, "the server closed the connection without an answer: if it requires TLS, write"),
        (with_alert, "the server requires TLS: write its address with https://"),
    ] {
        let endpoint = ServerEndpoint::plaintext(&format!("http://{address}")).unwrap();
        let problem = explained(&call(&endpoint.connect().await.unwrap()).await);
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[tokio::test]
async fn a_missing_or_foreign_client_certificate_is_named() {
    let (ca, clients) = (Authority::new(), Authority::named("clients"));
    let mut files = Files::new(&ca);
    let server = TlsServer::start(config_with(&ca.server(&["localhost"]), Some(&clients))).await;
    let problem = files.problem(&server.url()).await;
    // A reset may arrive before the alert.
    assert!(
        problem.contains("require")
            && problem.contains("client certificate")
            && problem.contains("set --client-cert-file and --client-key-file"),
        "{problem}"
    );
    files.write_identity(&clients.client("web"));
    assert_reached(&call(&files.endpoint(&server.url()).connect().await.unwrap()).await);
}

#[tokio::test]
async fn replaced_files_are_used_by_the_next_connection() {
    let (old, new) = (Authority::named("old"), Authority::named("new"));
    let mut files = Files::new(&old);
    files.write_identity(&old.client("one"));
    let server = TlsServer::start(config_with(&old.server(&["localhost"]), Some(&old))).await;
    let endpoint = files.endpoint(&server.url());
    assert_reached(&call(&endpoint.connect().await.unwrap()).await);

    server.replace(config_with(&new.server(&["localhost"]), Some(&new)));
    let problem = files.problem(&server.url()).await;
    assert!(problem.contains("was not issued by a CA in --ca-file"), "{problem}");
    files.write("ca.crt", &(old.pem.clone() + &new.pem));
    let fresh = new.client("two");
    files.write_identity(&fresh);
    assert_reached(&call(&endpoint.connect().await.unwrap()).await);
    let presented = server.certificates().pop().flatten();
    assert_eq!(presented.as_deref(), Some(&*CertificateDer::from_pem_slice(fresh.cert.as_bytes()).unwrap()));

    fs::remove_file(files.path("ca.crt")).unwrap();
    let problem = files.problem(&server.url()).await;
    assert!(problem.starts_with("--ca-file DIR/ca.crt: can't read it"), "{problem}");
    files.write("ca.crt", &new.pem);
    assert_reached(&call(&endpoint.connect().await.unwrap()).await);
}

#[tokio::test]
async fn each_call_has_the_present_token() {
    let ca = Authority::new();
    let mut files = Files::new(&ca);
    let server = TlsServer::start(config(&ca.server(&["localhost"]))).await;
    assert_reached(&call(&files.endpoint(&server.url()).connect_lazy()).await);

    files.token = true;
    files.write("token", "one\n");
    let connection = files.endpoint(&server.url()).connect_lazy();
    assert_reached(&call(&connection).await);
    files.write("token", "two");
    assert_reached(&call(&connection).await);
    fs::remove_file(files.path("token")).unwrap();
    let status = call(&connection).await;
    let problem = ConnectProblem::of(&status).expect("no call is made without the token").to_string();
    assert!(problem.contains("--token-file") && problem.contains("can't read it"), "{problem}");
    let sent = server.authorizations();
    assert_eq!(sent, [None, Some("Bearer one".to_owned()), Some("Bearer two".to_owned())]);
}

#[tokio::test]
async fn another_name_can_be_expected() {
    let ca = Authority::new();
    let mut files = Files::new(&ca);
    let server = TlsServer::start(config(&ca.server(&["headcount.example", "127.0.0.1"]))).await;
    files.name = "headcount.example.";
    assert_reached(&call(&files.endpoint(&server.url()).connect().await.unwrap()).await);
    files.name = "127.0.0.1";
    assert_reached(&call(&files.endpoint(&server.url()).connect().await.unwrap()).await);
    for invalid in ["", "a b", "a/b", "[::1"] {
        assert_eq!(ClientTls::parse_name(invalid), None, "{invalid}");
    }
    assert!(ClientTls::parse_name("[::1]").is_some());
}

#[test]
fn the_scheme_of_a_url_is_that_of_its_constructor() {
    for (with, other) in [("http", "https"), ("https", "http")] {
        let parse = |url: &str| match with {
            "http" => ServerEndpoint::plaintext(url),
            _ => ServerEndpoint::tls(url, "ca.pem"),
        };
        for host in ["127.0.0.1:7100", "[::1]:7100", "headcount:7100"] {
            assert!(parse(&format!("{with}://{host}")).is_ok(), "{with}://{host}");
            assert!(parse(&format!("{other}://{host}")).is_err(), "{with}: {other}://{host}");
        }
        for bad in ["", "127.0.0.1:7100", "localhost", &format!("{with}://"), &format!("{with}://a b")] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.starts_with("server: ") && error.contains(&format!("{with}://")), "{bad}: {error}");
        }
    }
}

/// Without [`ConnectionState::stranded`], about one call in 10,000 does not end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_end_when_their_connections_close_at_once() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = ServerEndpoint::plaintext(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let endpoint = endpoint.clone();
        clients.spawn(async move {
            for _ in 0..1_500 {
                if let Ok(connection) = endpoint.connect().await {
                    timeout(Duration::from_mins(1), call(&connection)).await.expect("the call ends");
                }
            }
        });
    }
    clients.join_all().await;
}
