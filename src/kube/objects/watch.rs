//! Watches: one line of JSON for each change, for as long as the reader stays.
//!
//! A watch is pulled, as those of gRPC are: while the reader's connection is full
//! nobody asks for the next line, and what happens meanwhile is told as one change.

use std::{convert::Infallible, future::Future, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::time::sleep;

use super::renderer::{Pen, Shown};
use crate::{
    kube::{
        Desk,
        protocol::{
            response::{JSON, PART, answer, encode},
            status::Status,
        },
    },
    registry::Encoding,
};

/// Says that all there was has been told.
pub(crate) const INITIAL_EVENTS_END: (&str, &str) = ("k8s.io/initial-events-end", "true");

/// Where there is something to tell, sooner or later.
pub(crate) trait Telling: Send + 'static {
    /// The next lines; none after the last ones.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// A watch that ends when its time is over, or the server drains.
pub(crate) fn stream_of(desk: &Desk, timeout: Duration, telling: impl Telling) -> Result<Response, Status> {
    let place = desk.watch_place()?;
    let lines = stream::unfold((telling, place), |(mut telling, place)| async {
        let lines = telling.next().await?;
        Some((Ok::<_, Infallible>(lines), (telling, place)))
    });
    let lines = lines.take_until(sleep(timeout)).take_until(desk.shutdown.clone().cancelled_owned());
    Ok(answer(JSON, Body::from_stream(lines)))
}

/// Writes lines.
#[derive(Debug)]
pub(crate) struct Lines {
    pen: Pen,
    /// The first object of a watch comes with the columns, if it is a table.
    columns: bool,
    text: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(pen: Pen) -> Self {
        Self { pen, columns: true, text: Vec::new() }
    }

    /// Writes that an object is new, changed or gone.
    pub(crate) fn change(&mut self, r#type: &str, object: &impl Shown) {
        let object = self.pen.object(object, std::mem::take(&mut self.columns));
        self.line(r#type, &object);
    }

    /// Writes how far the reader is.
    pub(crate) fn bookmark(&mut self, revision: u64, initial_events_end: bool) {
        let annotations = if initial_events_end { vec![INITIAL_EVENTS_END] } else { Vec::new() };
        let object = self.pen.bookmark(revision, annotations);
        self.line("BOOKMARK", &object);
    }

    /// Writes why the watch ends.
    pub(crate) fn error(&mut self, status: &Status) {
        self.line("ERROR", &encode(status));
    }

    pub(crate) fn are_many(&self) -> bool {
        self.text.len() >= PART
    }

    /// What was written since the last time.
    pub(crate) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.text).into()
    }

    /// The encoding in which whoever is as far as this reader is told the same; none
    /// while this one still misses the columns.
    pub(crate) fn shared(&self) -> Option<Encoding> {
        self.pen.shared().filter(|encoding| *encoding != Encoding::Table || !self.columns)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn line(&mut self, r#type: &str, object: &[u8]) {
        for part in [br#"{"type":""#, r#type.as_bytes(), br#"","object":"#, object, b"}\n"] {
            self.text.extend_from_slice(part);
        }
    }
}
