//! Bodies and their headers.

use axum::{
    body::Body,
    http::{
        HeaderName, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE, VARY},
    },
    response::Response,
};
use serde::Serialize;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Bytes of a long body that are written at a time, or a little more.
pub(crate) const PART: usize = 16 * 1024;

/// What holds for every answer: what is true now may be false a moment later,
/// and who asks in another way is answered in another way.
const ALWAYS: [(HeaderName, HeaderValue); 2] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-cache, private")),
    (VARY, HeaderValue::from_static("Accept")),
];

/// An answer of this type.
pub(crate) fn answer(content_type: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.extend(ALWAYS);
    response
}

/// A document.
pub(crate) fn json(document: &impl Serialize) -> Response {
    answer(JSON, encode(document))
}

/// The text of a document.
pub(crate) fn encode(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents of ours have texts for keys")
}
