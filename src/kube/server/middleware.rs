//! Middleware that every request passes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt as _;
use tokio::time::timeout;
use tracing::warn;

use super::access::KubeAccess;
use crate::{
    audit::RequestId,
    kube::{admission, protocol::path::canonical},
    model::Quoted,
    net::{guarded_body::GuardedBody, places::PlaceHandle},
};

/// Paths that need no credential: health checks, and webhooks, which kube-apiserver calls without
/// one.
pub(super) const PUBLIC_PATHS: [&str; 5] =
    ["/livez", "/readyz", "/healthz", admission::VALIDATE, admission::MUTATE];

/// kube-apiserver's limit of a request's body.
const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Decodes the path, and adds the caller to the extensions. The connection of an accepted request
/// keeps its place until the response has been sent. The response to a refused one has its id.
pub(super) async fn authenticate(
    State(access): State<Arc<KubeAccess>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let mut response = respond(access, request, next).await;
    if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        id.add_to(response.headers_mut());
    }
    response
}

async fn respond(access: Arc<KubeAccess>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let Some(uri) = canonical(&head.uri) else {
        return (StatusCode::BAD_REQUEST, "400 Bad Request: malformed path\n").into_response();
    };
    head.uri = uri;
    if let Err(rejection) = access.check_host(&head) {
        let peer: Option<&ConnectInfo<SocketAddr>> = head.extensions.get();
        let peer = peer.map(|ConnectInfo(peer)| tracing::field::display(peer));
        warn!(peer, path = %Quoted(head.uri.path()), "refused: {}", rejection.message());
        return rejection.into_response();
    }
    if PUBLIC_PATHS.contains(&head.uri.path()) {
        return anybody(&access, head, body, next).await;
    }
    let caller = match access.authenticate(&head) {
        Ok(caller) => caller,
        Err(rejection) => return rejection.into_response(),
    };
    head.extensions.insert(caller);
    in_use(head, body, next).await
}

/// Handles a request that needs no credential. One on loopback, where no request needs one, keeps its
/// connection like all others there.
async fn anybody(access: &KubeAccess, mut head: Parts, body: Body, next: Next) -> Response {
    if let Some(caller) = access.control.identify(&head.headers, &head.extensions) {
        head.extensions.insert(caller);
    }
    if access.loopback {
        return in_use(head, body, next).await;
    }
    next.run(Request::from_parts(head, body)).await
}

/// Handles a request whose connection keeps its place until the response has been sent.
async fn in_use(head: Parts, body: Body, next: Next) -> Response {
    let in_use = head.extensions.get().map(|place: &PlaceHandle| {
        place.known();
        place.begin_use()
    });
    let response = next.run(Request::from_parts(head, body)).await;
    response.map(|body| Body::new(GuardedBody::new(body, in_use)))
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
    next.run(Request::from_parts(head, Body::empty())).await
}
