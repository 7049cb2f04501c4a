//! What every request has to pass.

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

use super::access::Access;
use crate::{kube::admission, model::Quoted};

/// For whoever runs us, and for kube-apiserver before it lets a Pod in: it calls
/// webhooks without a certificate.
const OPEN: [&str; 5] = ["/livez", "/readyz", "/healthz", admission::VALIDATE, admission::MUTATE];

/// The largest request that Kubernetes takes.
const MOST_BODY_BYTES: usize = 3 * 1024 * 1024;
/// For all of it to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Lets a request in.
pub(crate) async fn gate(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    if let Some(uri) = without_slash(&head.uri) {
        head.uri = uri;
    }
    let open = matches!(*access, Access::FrontProxy(_)) && OPEN.contains(&head.uri.path());
    if !open && let Err(refusal) = access.check(&head) {
        let peer: Option<&ConnectInfo<SocketAddr>> = head.extensions.get();
        let peer = peer.map(|ConnectInfo(peer)| tracing::field::display(peer));
        warn!(peer, path = %Quoted(head.uri.path()), "refused: {}", refusal.message());
        return refusal.into_response();
    }
    next.run(Request::from_parts(head, body)).await
}

/// A path and the same with a slash behind it lead to the same place.
fn without_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty())?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{path}{query}").parse().ok()
}

/// Nothing is read from bodies here. But a client that is refused while it writes
/// one may not read why, so it is taken in, up to what an honest one sends. Whoever
/// sends more, or slowly, is answered all the same, and cut.
pub(crate) async fn without_body(request: Request, next: Next) -> Response {
    let (head, mut body) = request.into_parts();
    let all = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            if bytes > MOST_BODY_BYTES {
                return;
            }
        }
    };
    let _in_time = timeout(BODY_TIME, all).await;
    drop(body);
    next.run(Request::from_parts(head, axum::body::Body::empty())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slash_at_the_end_is_no_difference() {
        for (from, to) in
            [("/apis/", Some("/apis")), ("/apis/?a=b/", Some("/apis?a=b/")), ("/", None), ("/apis", None)]
        {
            assert_eq!(
                without_slash(&from.parse().unwrap()).map(|uri| uri.to_string()).as_deref(),
                to,
                "{from}"
            );
        }
    }
}
