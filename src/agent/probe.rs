//! One probe: what is asked, and one attempt at it.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header, uri::PathAndQuery};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time};

use super::threshold::Thresholds;
use crate::model::{Invalid, Quoted};

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Does the port accept a connection?
    Tcp,
    /// Does a GET of this path get a 2xx or 3xx? An extension to Kuma's format.
    Http(PathAndQuery),
}

impl Check {
    /// A GET of `path`.
    pub(super) fn http(path: &str) -> Result<Self, String> {
        let parsed = path.parse().ok().filter(|_| path.starts_with('/'));
        parsed
            .map(Self::Http)
            .ok_or_else(|| format!("{}: must be the path of a URL and begin with '/'", Quoted(path)))
    }
}

/// A probe of one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSpec {
    /// An address or a host name.
    pub host: String,
    /// Never 0.
    pub port: u16,
    /// What it asks.
    pub check: Check,
    /// From the start of one attempt to the start of the next.
    pub interval: Duration,
    /// After which an attempt has failed.
    pub timeout: Duration,
    /// How many results decide.
    pub thresholds: Thresholds,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeFailure {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("can't connect: {0}")]
    Connect(#[from] io::Error),
    #[error("no HTTP answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("answered {0}")]
    Status(StatusCode),
}

impl ProbeSpec {
    /// A probe of the proxy itself by its readiness URL, such as Envoy's
    /// `http://127.0.0.1:9901/ready`: once a second, with 1 s to answer.
    pub fn proxy_ready(url: &str) -> Result<Self, Invalid> {
        let wrong = || {
            let problem = format!("{url:?}: must be a URL such as http://127.0.0.1:9901/ready");
            Invalid::new("proxy-ready-url", problem)
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(wrong());
        };
        Ok(Self {
            // A literal IPv6 address is in brackets in a URL, and only there.
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(80),
            check: Check::Http(uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"))),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            thresholds: Thresholds::default(),
        })
    }

    /// Asks once.
    pub(super) async fn attempt(&self) -> Result<(), ProbeFailure> {
        time::timeout(self.timeout, self.ask()).await.unwrap_or(Err(ProbeFailure::Timeout(self.timeout)))
    }

    async fn ask(&self) -> Result<(), ProbeFailure> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        match &self.check {
            Check::Tcp => Ok(()),
            Check::Http(path) => match self.get(stream, path).await? {
                status if status.is_success() || status.is_redirection() => Ok(()),
                status => Err(ProbeFailure::Status(status)),
            },
        }
    }

    /// The status of a GET. Its body is not read: the connection ends here.
    async fn get(&self, stream: TcpStream, path: &PathAndQuery) -> Result<StatusCode, hyper::Error> {
        let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = path.clone().into();
        let headers = request.headers_mut();
        if let Ok(host) = self.authority().try_into() {
            headers.insert(header::HOST, host);
        }
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        let answer = requests.send_request(request);
        tokio::pin!(answer);
        let answer = tokio::select! {
            // An answer can arrive together with the end of its connection.
            biased;
            answer = &mut answer => answer,
            _ = connection => answer.await,
        };
        answer.map(|answer| answer.status())
    }

    fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinHandle,
    };

    use super::*;

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// A server that gives one connection this answer; it hands the request back.
    async fn answering(answer: &'static str) -> (ProbeSpec, JoinHandle<String>) {
        let (listener, port) = listener().await;
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        let url = format!("http://127.0.0.1:{port}/ready?x=1");
        (ProbeSpec::proxy_ready(&url).unwrap(), served)
    }

    fn tcp(port: u16) -> ProbeSpec {
        let url = format!("http://127.0.0.1:{port}");
        ProbeSpec { check: Check::Tcp, ..ProbeSpec::proxy_ready(&url).unwrap() }
    }

    #[tokio::test]
    async fn tcp_is_up_while_somebody_listens() {
        let (listener, port) = listener().await;
        tcp(port).attempt().await.unwrap();
        drop(listener);
        let failure = tcp(port).attempt().await.unwrap_err();
        assert!(matches!(failure, ProbeFailure::Connect(_)), "{failure}");
    }

    #[tokio::test]
    async fn http_sends_one_plain_get() {
        let (probe, served) = answering("HTTP/1.1 204 No Content\r\n\r\n").await;
        probe.attempt().await.unwrap();
        let request = served.await.unwrap();
        assert!(request.starts_with("GET /ready?x=1 HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: 127.0.0.1:{}\r\n", probe.port)), "{request}");
        assert!(request.contains("connection: close\r\n"), "{request}");
    }

    #[tokio::test]
    async fn two_and_three_hundreds_are_up_and_nothing_else() {
        for (answer, up) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nreadyHTTP", true),
            ("HTTP/1.0 302 Found\r\nlocation: /\r\n\r\n", true),
            ("HTTP/1.1 404 Not Found\r\n\r\n", false),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            ("SSH-2.0-OpenSSH_9.6\r\n", false),
            ("", false),
        ] {
            let (probe, served) = answering(answer).await;
            assert_eq!(probe.attempt().await.is_ok(), up, "{answer:?}");
            served.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_accepts_and_says_nothing_is_down_after_the_timeout() {
        let (_listener, port) = listener().await;
        let probe = ProbeSpec {
            timeout: Duration::from_millis(700),
            ..ProbeSpec::proxy_ready(&format!("http://127.0.0.1:{port}/")).unwrap()
        };
        let started = time::Instant::now();
        let failure = probe.attempt().await.unwrap_err();
        assert!(matches!(failure, ProbeFailure::Timeout(_)), "{failure}");
        assert_eq!(started.elapsed().as_millis() / 10, 70);
    }

    #[test]
    fn the_readiness_url_is_taken_apart() {
        let probe = ProbeSpec::proxy_ready("http://[::1]:9901").unwrap();
        assert_eq!((probe.host.as_str(), probe.port), ("::1", 9901));
        assert_eq!(probe.check, Check::Http(PathAndQuery::from_static("/")));
        assert_eq!(probe.authority(), "[::1]:9901");
        assert_eq!(ProbeSpec::proxy_ready("http://envoy/ready").unwrap().port, 80);
        for bad in ["", "127.0.0.1:9901", "/ready", "https://127.0.0.1:9901/ready", "http://"] {
            let error = ProbeSpec::proxy_ready(bad).unwrap_err().to_string();
            assert!(error.contains("such as http://127.0.0.1:9901/ready"), "{bad}: {error}");
        }
    }
}
