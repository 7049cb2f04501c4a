//! An HTTP response that a test has received from the Kubernetes API, and assertions on it.

use std::{future::IntoFuture, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::timeout;

/// Deadline of everything that a test waits for.
const DEADLINE: Duration = Duration::from_secs(10);

/// Waits for `future`, which must complete within the deadline; `what` names it in the failure.
pub(crate) async fn soon<F: IntoFuture>(what: &str, future: F) -> F::Output {
    let in_time = timeout(DEADLINE, future).await;
    in_time.unwrap_or_else(|_| panic!("timed out after {DEADLINE:?}, waiting for: {what}"))
}

/// A response that has been read to its end.
pub(crate) struct HttpResponse {
    path: String,
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl HttpResponse {
    /// Reads the body of the response to a request for `path`.
    pub(crate) async fn read(path: &str, response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = soon(path, body.collect()).await.expect("a whole body").to_bytes();
        Self { path: path.to_owned(), code: head.status.as_u16(), headers: head.headers, body }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let json = serde_json::from_slice(&self.body);
        json.unwrap_or_else(|error| panic!("{}: {error}: {:?}", self.path, self.body))
    }

    /// Asserts status 200, and returns the document.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.code, 200, "{}: {:?}", self.path, self.body);
        self.json()
    }

    /// Asserts that the body is a `Status` with this code and reason, whose message contains
    /// all of `words`, is short, and has no control characters.
    #[track_caller]
    pub(crate) fn assert_status(&self, code: u16, reason: &str, words: &[&str]) {
        let status = self.json();
        let context = format!("{}: {status}", self.path);
        assert_eq!(self.code, code, "{context}");
        assert_eq!(status["kind"], "Status", "{context}");
        assert_eq!(status["apiVersion"], "v1", "{context}");
        assert_eq!(status["status"], "Failure", "{context}");
        assert_eq!(status["code"], code, "{context}");
        assert_eq!(status["reason"], reason, "{context}");
        let message = status["message"].as_str().expect("a message");
        assert!(message.len() < 800 && !message.contains(char::is_control), "{message}");
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.path)).to_str().expect("text")
    }
}
