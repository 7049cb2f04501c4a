//! What the address of the Kubernetes API has answered.

use std::{future::IntoFuture, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::timeout;

/// For everything that a test waits for.
const DEADLINE: Duration = Duration::from_secs(10);

/// Waits for `what`, which must come within the deadline.
pub(crate) async fn soon<F: IntoFuture>(what: &str, future: F) -> F::Output {
    let in_time = timeout(DEADLINE, future).await;
    in_time.unwrap_or_else(|_| panic!("{what}: has not come within {DEADLINE:?}"))
}

/// An answer, and to what.
pub(crate) struct Answer {
    path: String,
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Reads all of it.
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

    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.code, 200, "{}: {:?}", self.path, self.body);
        self.json()
    }

    /// It is a Status of this kind, and its message is short and harmless and has
    /// all of these words.
    #[track_caller]
    pub(crate) fn refuses(&self, code: u16, reason: &str, words: &[&str]) {
        let status = self.json();
        let about = format!("{}: {status}", self.path);
        assert_eq!(self.code, code, "{about}");
        assert_eq!(status["kind"], "Status", "{about}");
        assert_eq!(status["apiVersion"], "v1", "{about}");
        assert_eq!(status["status"], "Failure", "{about}");
        assert_eq!(status["code"], code, "{about}");
        assert_eq!(status["reason"], reason, "{about}");
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
