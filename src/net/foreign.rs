//! Recognizes answers of HTTP servers and proxies that are not gRPC.
//!
//! tonic reports such an answer as a status whose message describes its parser. There is no type
//! to match on, so this module matches its two messages; a test with real answers shows when a
//! release of tonic changes them.

use tonic::Status;

/// tonic's message for an HTTP error without `grpc-status`, up to the code.
const HTTP_STATUS: &str = "mapped from HTTP status code ";
/// tonic's message for a body that is not gRPC, up to its first byte.
const FIRST_BYTE: &str = "invalid compression flag: ";
/// What follows it, up to the HTTP status.
const OF_RESPONSE: &str = "while receiving response with status: ";

/// Describes the answer of something that does not speak gRPC; none if the status is that of a
/// gRPC server.
pub(crate) fn http_answer(status: &Status) -> Option<String> {
    let message = status.message();
    if let Some((_, code)) = message.split_once(HTTP_STATUS) {
        let reason = code.parse().ok().and_then(|code| http::StatusCode::from_u16(code).ok());
        return Some(match reason.and_then(|code| code.canonical_reason()) {
            Some(reason) => format!("HTTP status {code} ({reason})"),
            None => format!("HTTP status {code}"),
        });
    }
    let (byte, code) = message.split_once(FIRST_BYTE)?.1.split_once(OF_RESPONSE)?;
    let body = if byte.starts_with("60 ") { "an HTML page" } else { "a body that is not gRPC" };
    Some(format!("{body}, with HTTP status {code}"))
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use hyper::{Response, server::conn::http2, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::TcpListener;
    use tonic::transport::Endpoint;

    use super::*;
    use crate::proto::{WatchWorkloadsRequest, workload_service_client::WorkloadServiceClient};

    /// The status of a streaming call that is answered with this HTTP status and body.
    async fn answered(code: u16, body: &'static str) -> Status {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = async {
            let (stream, _) = listener.accept().await.unwrap();
            let respond = service_fn(move |_| async move {
                let body = Full::new(bytes::Bytes::from(body));
                let response = Response::builder().status(code).header("content-type", "text/html");
                response.body(body)
            });
            let served =
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), respond);
            let _ = served.await;
        };
        let call = async {
            let channel =
                Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
            let mut client = WorkloadServiceClient::new(channel);
            match client.watch_workloads(WatchWorkloadsRequest::default()).await {
                Ok(response) => response.into_inner().message().await.unwrap_err(),
                Err(status) => status,
            }
        };
        tokio::select! {
            status = call => status,
            () = proxy => panic!("the proxy ended first"),
        }
    }

    #[tokio::test]
    async fn answers_that_are_not_grpc_are_described() {
        for (code, body, expected) in [
            (403, "", Some("HTTP status 403 (Forbidden)")),
            (502, "<html>bad gateway</html>", Some("an HTML page, with HTTP status 502 Bad Gateway")),
            (200, "<html>log in first</html>", Some("an HTML page, with HTTP status 200 OK")),
            (200, "log in first", Some("a body that is not gRPC, with HTTP status 200 OK")),
        ] {
            let status = answered(code, body).await;
            assert_eq!(http_answer(&status).as_deref(), expected, "{code} {body}: {status}");
        }
        assert_eq!(http_answer(&Status::unavailable("the server is draining")), None);
    }
}
