//! Response bodies and the headers that every response has.

use axum::{
    body::Body,
    http::{
        HeaderName, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE, VARY, WARNING},
    },
    response::Response,
};
use serde::Serialize;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Size from which a chunk of a streamed body is sent. A chunk may be larger by one object.
pub(crate) const CHUNK_BYTES: usize = 16 * 1024;

/// Every response may be outdated a moment later, and depends on the request's `Accept`.
const COMMON_HEADERS: [(HeaderName, HeaderValue); 2] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-cache, private")),
    (VARY, HeaderValue::from_static("Accept")),
];

/// Builds a response with status 200.
pub(crate) fn response(content_type: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.extend(COMMON_HEADERS);
    response
}

/// Builds a response with status 200 whose body is `document` as JSON.
pub(crate) fn json_response(document: &impl Serialize) -> Response {
    response(JSON, to_json(document))
}

/// Adds a warning, which kubectl and other clients print (RFC 7234, section 5.5; as in
/// kube-apiserver, with code 299 and without an agent).
pub(crate) fn with_warning(mut response: Response, text: &str) -> Response {
    let quoted = text.replace('\\', r"\\").replace('"', r#"\""#);
    if let Ok(warning) = HeaderValue::try_from(format!("299 - \"{quoted}\"")) {
        response.headers_mut().append(WARNING, warning);
    }
    response
}

/// Serializes a document of this crate, which can't fail: its map keys are strings.
pub(crate) fn to_json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("the keys of all maps are strings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_warning_is_a_quoted_string() {
        let response = with_warning(response(JSON, ""), r#"a "b" \c"#);
        assert_eq!(response.headers()[WARNING], r#"299 - "a \"b\" \\c""#);
    }
}
