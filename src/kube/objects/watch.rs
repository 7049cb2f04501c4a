//! Watch responses: one line of JSON for each change, until the watch ends.
//!
//! Like the watches of gRPC they are pulled: while the client's connection is full, the next
//! line is not requested, and the changes in the meantime are combined into one.

use std::{convert::Infallible, future::Future, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::time::sleep;

use super::{
    renderer::{Object, Renderer},
    right::Right,
    state::ApiState,
};
use crate::{
    kube::protocol::{
        response::{CHUNK_BYTES, JSON, response, to_json},
        status::Status,
    },
    registry::Encoding,
};

/// Annotation of the bookmark that marks the end of the initial events.
const INITIAL_EVENTS_END: (&str, &str) = ("k8s.io/initial-events-end", "true");

/// A source of watch events.
pub(crate) trait WatchSource: Send + 'static {
    /// Waits for the next lines, already encoded. `None` ends the watch.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// Responds with a watch that ends after `timeout`, when the server drains, or with an error when the
/// right of its caller has ended.
///
/// # Errors
///
/// 401 or 403 if that right has ended already, 429 if all connections for watches, or all that one
/// client may use, are in use.
pub(crate) fn watch_response(
    state: &ApiState,
    timeout: Duration,
    right: &Right,
    source: impl WatchSource,
) -> Result<Response, Status> {
    let permit = state.permit_watch_connection(right.accounts())?;
    let right = right.to_watch()?;
    let lines = stream::unfold(Some((source, right, permit)), |watch| async {
        let (mut source, right, permit) = watch?;
        tokio::select! {
            biased;
            ended = right.ended() => Some((Ok(error_line(&ended.into())), None)),
            lines = source.next() => Some((Ok::<_, Infallible>(lines?), Some((source, right, permit)))),
        }
    });
    let lines = lines.take_until(sleep(timeout)).take_until(state.shutdown.clone().cancelled_owned());
    Ok(response(JSON, Body::from_stream(lines)))
}

/// Encodes watch events as lines of JSON, and buffers them.
#[derive(Debug)]
pub(crate) struct WatchEncoder {
    renderer: Renderer,
    /// Whether the next object must contain the columns, as the first table of a watch does.
    columns: bool,
    lines: Vec<u8>,
}

impl WatchEncoder {
    pub(crate) fn new(renderer: Renderer) -> Self {
        Self { renderer, columns: true, lines: Vec::new() }
    }

    /// Adds an event of type `ADDED`, `MODIFIED` or `DELETED`.
    pub(crate) fn change(&mut self, r#type: &str, object: &impl Object) {
        let object = self.renderer.object(object, std::mem::take(&mut self.columns));
        self.line(r#type, &object);
    }

    /// Adds a bookmark: the client knows everything up to `revision`.
    pub(crate) fn bookmark(&mut self, revision: u64, initial_events_end: bool) {
        let annotations = if initial_events_end { vec![INITIAL_EVENTS_END] } else { Vec::new() };
        let object = self.renderer.bookmark(revision, annotations);
        self.line("BOOKMARK", &object);
    }

    /// Adds the error that ends the watch.
    pub(crate) fn error(&mut self, status: &Status) {
        self.line("ERROR", &to_json(status));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether the buffered lines fill a chunk of the response.
    pub(crate) fn is_full(&self) -> bool {
        self.lines.len() >= CHUNK_BYTES
    }

    /// Takes the buffered lines.
    pub(crate) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.lines).into()
    }

    /// Returns the encoding whose bytes all watches at the same revision share; none until the
    /// columns have been sent.
    pub(crate) fn shared_encoding(&self) -> Option<Encoding> {
        let encoding = self.renderer.shared_encoding();
        encoding.filter(|encoding| *encoding != Encoding::Table || !self.columns)
    }

    fn line(&mut self, r#type: &str, object: &[u8]) {
        add_line(&mut self.lines, r#type, object);
    }
}

fn add_line(lines: &mut Vec<u8>, r#type: &str, object: &[u8]) {
    for part in [br#"{"type":""#, r#type.as_bytes(), br#"","object":"#, object, b"}\n"] {
        lines.extend_from_slice(part);
    }
}

fn error_line(status: &Status) -> Bytes {
    let mut line = Vec::new();
    add_line(&mut line, "ERROR", &to_json(status));
    line.into()
}
