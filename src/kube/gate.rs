//! What every request has to pass.

use std::{net::IpAddr, time::Duration};

use axum::{
    extract::Request,
    http::{HeaderMap, Uri, header::HOST, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::status::Status;
use crate::model::Quoted;

/// The largest request that Kubernetes takes.
const MOST_BODY_BYTES: usize = 3 * 1024 * 1024;
/// For all of it to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Lets a request in.
pub(super) async fn gate(request: Request, next: Next) -> Response {
    if let Err(refusal) = check_host(request.uri(), request.headers()) {
        return refusal.into_response();
    }
    let (mut head, body) = request.into_parts();
    if let Some(uri) = without_slash(&head.uri) {
        head.uri = uri;
    }
    discard(body).await;
    next.run(Request::from_parts(head, axum::body::Body::empty())).await
}

/// A page of the web can have a browser ask a server on this machine, by a name
/// that leads here (DNS rebinding), and read the answer. It cannot choose another
/// name for it; so whoever comes must have asked for this machine by its own.
fn check_host(uri: &Uri, headers: &HeaderMap) -> Result<(), Status> {
    let said = headers.get(HOST).map(|host| host.to_str().unwrap_or("?"));
    let Some(host) = uri.authority().map(Authority::as_str).or(said) else {
        return Ok(()); // HTTP/1.0, which no browser speaks
    };
    let refused = || {
        Status::forbidden(format!(
            "host {}: the Kubernetes API is served to this machine alone: ask for it as localhost, 127.0.0.1 or [::1]",
            Quoted(host)
        ))
    };
    let name = host.parse::<Authority>().map_err(|_| refused())?;
    let name = name.host().trim_start_matches('[').trim_end_matches(']');
    let local =
        name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if local { Ok(()) } else { Err(refused()) }
}

/// A path and the same with a slash behind it lead to the same place.
fn without_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty())?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{path}{query}").parse().ok()
}

/// Nothing is read from bodies. But a client that is refused while it writes one
/// may not read why, so it is taken in, up to what an honest one sends. Whoever
/// sends more, or slowly, is answered all the same, and cut.
async fn discard(mut body: axum::body::Body) {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str) -> Result<(), Status> {
        check_host(&Uri::from_static("/apis"), &HeaderMap::from_iter([(HOST, host.parse().unwrap())]))
    }

    #[test]
    fn only_this_machines_own_names_are_answered_to() {
        for own in ["localhost", "LocalHost:7102", "127.0.0.1:7102", "127.3.4.5", "[::1]:7102", "[::1]"] {
            assert!(host(own).is_ok(), "{own}");
        }
        for other in
            ["evil.example", "evil.example:7102", "127.0.0.1.evil.example", "10.0.0.1", "", "a b", "::1"]
        {
            assert!(host(other).is_err(), "{other}");
        }
        assert!(check_host(&Uri::from_static("/apis"), &HeaderMap::new()).is_ok());
        let asked_as_proxy = Uri::from_static("http://evil.example/apis");
        let own = HeaderMap::from_iter([(HOST, "localhost".parse().unwrap())]);
        assert!(check_host(&asked_as_proxy, &own).is_err());
    }

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
