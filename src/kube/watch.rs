//! Watches: one line of JSON for each change, for as long as the reader stays.
//!
//! A watch is pulled, as those of gRPC are: while the reader's connection is full
//! nobody asks for the next line, and what happens meanwhile is told as one change.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration, vec};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::time::sleep;

use super::{
    Desk,
    answer::{JSON, PART, answer, encode},
    options::{Start, WatchOptions},
    shown::{Pen, Shown},
    status::Status,
    workloads::{Seen, at_least},
};
use crate::{
    apart::apart,
    model::{Filter, Workload},
    registry::{Encoding, Position, Step, Told, Watcher},
};

/// Says that all there was has been told.
pub(super) const INITIAL_EVENTS_END: (&str, &str) = ("k8s.io/initial-events-end", "true");

/// Where there is something to tell, sooner or later.
pub(super) trait Telling: Send + 'static {
    /// The next lines; none after the last ones.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// A watch that ends when its time is over, or the server drains.
pub(super) fn stream_of(desk: &Desk, timeout: Duration, telling: impl Telling) -> Result<Response, Status> {
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
pub(super) struct Lines {
    pen: Pen,
    /// The first object of a watch comes with the columns, if it is a table.
    columns: bool,
    text: Vec<u8>,
}

impl Lines {
    pub(super) fn new(pen: Pen) -> Self {
        Self { pen, columns: true, text: Vec::new() }
    }

    /// Writes that an object is new, changed or gone.
    pub(super) fn change(&mut self, r#type: &str, object: &impl Shown) {
        let object = self.pen.object(object, std::mem::take(&mut self.columns));
        self.line(r#type, &object);
    }

    /// Writes how far the reader is.
    pub(super) fn bookmark(&mut self, revision: u64, initial_events_end: bool) {
        let annotations = if initial_events_end { vec![INITIAL_EVENTS_END] } else { Vec::new() };
        let object = self.pen.bookmark(revision, annotations);
        self.line("BOOKMARK", &object);
    }

    /// Writes why the watch ends.
    pub(super) fn error(&mut self, status: &Status) {
        self.line("ERROR", &encode(status));
    }

    pub(super) fn are_many(&self) -> bool {
        self.text.len() >= PART
    }

    /// What was written since the last time.
    pub(super) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.text).into()
    }

    /// The encoding in which whoever is as far as this reader is told the same; none
    /// while this one still misses the columns.
    fn shared(&self) -> Option<Encoding> {
        self.pen.shared().filter(|encoding| *encoding != Encoding::Table || !self.columns)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn line(&mut self, r#type: &str, object: &[u8]) {
        for part in [br#"{"type":""#, r#type.as_bytes(), br#"","object":"#, object, b"}\n"] {
            self.text.extend_from_slice(part);
        }
    }
}

/// Watches Workloads.
pub(super) fn workloads(
    desk: &Arc<Desk>,
    pen: Pen,
    filter: Filter,
    options: &WatchOptions,
) -> Result<Response, Status> {
    let registry = &desk.registry;
    let (after, left, mark) = match options.start {
        Start::After(revision) => (revision, Vec::new(), false),
        Start::Now => (registry.head(), Vec::new(), false),
        Start::Everything { at_least: least, mark } => {
            at_least(least, registry.head())?;
            let page = apart(|| registry.list(&filter, usize::MAX, None, None));
            let page = page.map_err(|error| Status::expired(error.to_string()))?;
            let mut all = page.workloads;
            // Whoever is cut off between two of them has seen all that was before.
            all.sort_unstable_by_key(|workload| workload.revision);
            (page.revision, all, mark)
        }
    };
    let watcher = registry.watch(filter, Some(Position(after))).map_err(|full| desk.refuse(&full))?;
    let state = State::Beginning { left: left.into_iter(), after, mark };
    let watch = WorkloadWatch {
        desk: Arc::clone(desk),
        lines: Lines::new(pen),
        watcher,
        bookmarks: options.bookmarks,
        asked: after,
        state,
    };
    stream_of(desk, options.timeout, watch)
}

struct WorkloadWatch {
    desk: Arc<Desk>,
    lines: Lines,
    watcher: Watcher,
    bookmarks: bool,
    /// Where the reader was.
    asked: u64,
    state: State,
}

enum State {
    /// What there was when the watch began is being told.
    Beginning { left: vec::IntoIter<Arc<Workload>>, after: u64, mark: bool },
    /// Changes are told. The watcher `greets` a reader who is up to date; here
    /// that is no news.
    Following { greets: bool },
    /// The reader has to list again.
    Over,
}

impl Telling for WorkloadWatch {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.lines.is_empty() {
                return Some(self.lines.take());
            }
            match &mut self.state {
                State::Beginning { left, after, mark } => {
                    let kind = Arc::clone(&self.desk.workloads);
                    while !self.lines.are_many()
                        && let Some(workload) = left.next()
                    {
                        self.lines.change("ADDED", &Seen::new(&kind, &workload));
                    }
                    if left.len() == 0 {
                        if *mark && self.bookmarks {
                            self.lines.bookmark(*after, true);
                        }
                        self.state = State::Following { greets: true };
                    }
                }
                State::Following { greets } => {
                    let greeting = std::mem::take(greets);
                    let Some(step) = self.watcher.follow().await else {
                        self.state = State::Over;
                        self.lines.error(&self.out_of_reach());
                        continue;
                    };
                    let lines = self.write(&step, greeting);
                    if !lines.is_empty() {
                        return Some(lines);
                    }
                }
                State::Over => return None,
            }
        }
    }
}

impl WorkloadWatch {
    fn write(&mut self, step: &Step, greeting: bool) -> Bytes {
        if let Some(oldest) = step.oldest {
            self.desk.delivery.delivered(oldest.elapsed());
        }
        if step.told.is_empty() {
            if let Some(revision) = step.synced.filter(|_| self.bookmarks && !greeting) {
                self.lines.bookmark(revision, false);
            }
            return self.lines.take();
        }
        match self.lines.shared() {
            Some(encoding) => step.encoded(encoding, |step| self.tell_all(step)),
            None => self.tell_all(step),
        }
    }

    fn tell_all(&mut self, step: &Step) -> Bytes {
        for told in &step.told {
            self.tell(told);
        }
        self.lines.take()
    }

    fn tell(&mut self, Told { before, now, revision }: &Told) {
        let kind = Arc::clone(&self.desk.workloads);
        let seen = |workload, revision| Seen { kind: &kind, workload, revision };
        match (before, now) {
            (Some(before), Some(now)) if before.identity.uid == now.identity.uid => {
                self.lines.change("MODIFIED", &seen(now, *revision));
            }
            (before, now) => {
                if let Some(before) = before {
                    // Where another has taken its place, whoever is cut off between
                    // the two has not seen that one yet.
                    let gone = if now.is_some() { revision.saturating_sub(1) } else { *revision };
                    self.lines.change("DELETED", &seen(before, gone));
                }
                if let Some(now) = now {
                    self.lines.change("ADDED", &seen(now, *revision));
                }
            }
        }
    }

    fn out_of_reach(&self) -> Status {
        let (asked, head) = (self.asked, self.desk.registry.head());
        Status::expired(if asked > head {
            format!(
                "resource version {asked} is not of this life of the server, which is at {head}: list again"
            )
        } else {
            format!("too old resource version: {asked} ({head})")
        })
    }
}
