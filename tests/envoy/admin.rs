//! An Envoy's admin interface. It takes no HTTP/1.0, which the other helper for
//! HTTP speaks.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// One that is stopped accepts connections all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module's documentation.
pub(crate) struct Admin(pub(crate) SocketAddr);

impl Admin {
    /// Has it do something.
    pub(crate) async fn order(&self, path: &str) {
        let answer = self.ask(Method::POST, path).await;
        assert!(matches!(answer, Some((200, _))), "{path}: {answer:?}");
    }

    /// One of the counters; none while it does not answer, or knows none of this
    /// name.
    pub(crate) async fn counter(&self, name: &str) -> Option<u64> {
        let (200, text) = self.ask(Method::GET, &format!("/stats?filter=^{name}$")).await? else {
            return None;
        };
        text.trim().rsplit_once(": ")?.1.parse().ok()
    }

    /// Whether it says that its Envoy is ready.
    pub(crate) async fn is_ready(&self) -> bool {
        self.ask(Method::GET, "/ready").await == Some((200, "LIVE\n".to_owned()))
    }

    /// The status and the body of an answer; none if there is no whole one.
    async fn ask(&self, method: Method, path: &str) -> Option<(u16, String)> {
        let answer = async {
            let stream = TcpStream::connect(self.0).await.ok()?;
            let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
            let driver = tokio::spawn(connection);
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(header::HOST, self.0.to_string())
                .body(Empty::<Bytes>::new())
                .expect("a request");
            let answer = requests.send_request(request).await.ok()?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            driver.abort();
            Some((status, String::from_utf8_lossy(&body).into_owned()))
        };
        timeout(PATIENCE, answer).await.ok().flatten()
    }
}
