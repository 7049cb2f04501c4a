//! A request's path, and the parameters in it.

use std::fmt::Write as _;

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts, Path},
    http::{Uri, request::Parts},
};
use serde::de::DeserializeOwned;

use super::status::Status;
use crate::model::Quoted;

/// Returns a URI whose path is decoded and then split into segments, as kube-apiserver does: `%2f`
/// separates two segments, and a slash at the end has no effect. None if an escape is malformed.
pub(crate) fn canonical(uri: &Uri) -> Option<Uri> {
    let decoded = percent_decode(uri.path())?;
    let mut path = String::with_capacity(uri.path().len());
    for char in decoded.strip_suffix('/').unwrap_or(&decoded).chars() {
        match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' | '~' | '/' | ':' | ',' | '+' | '=' => {
                path.push(char);
            }
            _ => {
                for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                    let _infallible = write!(path, "%{byte:02X}");
                }
            }
        }
    }
    if path.is_empty() {
        path.push('/');
    }
    if let Some(query) = uri.query() {
        let _infallible = write!(path, "?{query}");
    }
    path.parse().ok()
}

/// Decodes `%xx`. Bytes that are not UTF-8 become U+FFFD, which no name contains.
fn percent_decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut decoded = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        decoded.extend_from_slice(rest.as_bytes());
    }
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

/// Checks a name in a path with the rules and words of kube-apiserver.
///
/// # Errors
///
/// 400 if the name can't be a segment of a path.
pub(crate) fn check_name(name: &str) -> Result<(), Status> {
    let problem = match name {
        "." => "may not be '.'",
        ".." => "may not be '..'",
        _ if name.contains('%') => "may not contain '%'",
        _ => return Ok(()),
    };
    Err(Status::bad_request(format!("Name parameter invalid: {}: {problem}", Quoted(name))))
}

/// Extracts path parameters as axum's [`Path`] does, and rejects with a [`Status`] that
/// Kubernetes' clients can read.
#[derive(Debug)]
pub(crate) struct PathParams<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathParams<T> {
    type Rejection = Status;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Status> {
        let path = <Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        path.map(|Path(params)| Self(params)).map_err(|rejection| Status::bad_request(rejection.body_text()))
    }
}

impl<T: DeserializeOwned + Send + 'static, S: Send + Sync> OptionalFromRequestParts<S> for PathParams<T> {
    type Rejection = Status;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Status> {
        let path = <Path<T> as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await;
        let path = path.map_err(|rejection| Status::bad_request(rejection.body_text()))?;
        Ok(path.map(|Path(params)| Self(params)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_before_they_are_split() {
        for (from, to) in [
            ("/apis/", Some("/apis")),
            ("/apis/?a=b/", Some("/apis?a=b/")),
            ("/apis//", Some("/apis/")),
            ("/", Some("/")),
            ("/apis", Some("/apis")),
            ("/a%2Fb", Some("/a/b")),
            ("/workload%73?limit=%31", Some("/workloads?limit=%31")),
            ("/a%00b", Some("/a%00b")),
            ("/a%3Fb", Some("/a%3Fb")),
            ("/%E4%b8%ad", Some("/%E4%B8%AD")),
            ("/%ff", Some("/%EF%BF%BD")),
            ("/%zz", None),
            ("/a%2", None),
            ("/a%+1", None),
        ] {
            let canonical = canonical(&from.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(canonical.as_deref(), to, "{from}");
        }
    }
}
