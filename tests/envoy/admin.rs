//! Client of Envoy's admin interface. `support::get` does not work with it: it sends HTTP/1.0, which Envoy
//! rejects.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// Longest time for a response. The kernel accepts connections for a stopped Envoy too.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The address of an admin interface.
pub(crate) struct Admin(pub(crate) SocketAddr);

impl Admin {
    /// Sends a POST, and expects 200.
    pub(crate) async fn post(&self, path: &str) {
        let response = self.request(Method::POST, path).await;
        assert!(matches!(response, Some((200, _))), "{path}: {response:?}");
    }

    /// Returns a counter; none if Envoy does not respond or has no such counter.
    pub(crate) async fn counter(&self, name: &str) -> Option<u64> {
        let (200, text) = self.request(Method::GET, &format!("/stats?filter=^{name}$")).await? else {
            return None;
        };
        text.trim().rsplit_once(": ")?.1.parse().ok()
    }

    /// Whether Envoy is ready.
    pub(crate) async fn is_ready(&self) -> bool {
        self.request(Method::GET, "/ready").await == Some((200, "LIVE\n".to_owned()))
    }

    /// Returns the node ID of the Envoy that responds; none if none does.
    pub(crate) async fn node_id(&self) -> Option<String> {
        let (_, text) = self.request(Method::GET, "/server_info").await?;
        let info: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(info["node"]["id"].as_str()?.to_owned())
    }

    /// Returns the status and the body of a response; none if it is missing or incomplete.
    async fn request(&self, method: Method, path: &str) -> Option<(u16, String)> {
        let response = async {
            let stream = TcpStream::connect(self.0).await.ok()?;
            let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
            let driver = tokio::spawn(connection);
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(header::HOST, self.0.to_string())
                .body(Empty::<Bytes>::new())
                .expect("a request");
            let response = requests.send_request(request).await.ok()?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.ok()?.to_bytes();
            driver.abort();
            Some((status, String::from_utf8_lossy(&body).into_owned()))
        };
        timeout(RESPONSE_TIMEOUT, response).await.ok().flatten()
    }
}
