//! Middleware that every request passes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::Uri,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt as _;
use tokio::time::timeout;
use tracing::warn;

use super::access::AccessPolicy;
use crate::{kube::admission, model::Quoted};

/// Paths that need no client certificate behind a front proxy: health checks, and webhooks,
/// which kube-apiserver calls without one.
const PUBLIC_PATHS: [&str; 5] = ["/livez", "/readyz", "/healthz", admission::VALIDATE, admission::MUTATE];

/// kube-apiserver's limit of a request's body.
const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Removes a trailing slash from the path, and rejects requests that the access policy does
/// not allow.
pub(super) async fn check_access(
    State(policy): State<Arc<AccessPolicy>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut head, body) = request.into_parts();
    if let Some(uri) = without_trailing_slash(&head.uri) {
        head.uri = uri;
    }
    let public = matches!(*policy, AccessPolicy::FrontProxy(_)) && PUBLIC_PATHS.contains(&head.uri.path());
    if !public && let Err(rejection) = policy.check(&head) {
        let peer: Option<&ConnectInfo<SocketAddr>> = head.extensions.get();
        let peer = peer.map(|ConnectInfo(peer)| tracing::field::display(peer));
        warn!(peer, path = %Quoted(head.uri.path()), "refused: {}", rejection.message());
        return rejection.into_response();
    }
    next.run(Request::from_parts(head, body)).await
}

fn without_trailing_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty())?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{path}{query}").parse().ok()
}

/// Reads and discards the body before the request is handled: a client may not read the
/// response until it has written its request. A body that is too large or too slow is not
/// read to its end; the client gets its response, and the connection is closed.
pub(super) async fn discard_body(request: Request, next: Next) -> Response {
    let (head, mut body) = request.into_parts();
    let read_all = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            if bytes > MAX_BODY_BYTES {
                return;
            }
        }
    };
    let _in_time = timeout(BODY_TIMEOUT, read_all).await;
    drop(body);
    next.run(Request::from_parts(head, axum::body::Body::empty())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trailing_slash_is_removed() {
        for (from, to) in
            [("/apis/", Some("/apis")), ("/apis/?a=b/", Some("/apis?a=b/")), ("/", None), ("/apis", None)]
        {
            assert_eq!(
                without_trailing_slash(&from.parse().unwrap()).map(|uri| uri.to_string()).as_deref(),
                to,
                "{from}"
            );
        }
    }
}
