//! Watches of Workloads: what a registry's watcher tells, as lines.

use std::{sync::Arc, vec};

use axum::response::Response;
use bytes::Bytes;

use super::Seen;
use crate::{
    kube::{
        Desk,
        objects::{
            renderer::Pen,
            watch::{Lines, Telling, stream_of},
        },
        protocol::{
            options::{Start, WatchOptions, at_least},
            status::Status,
        },
    },
    model::{Filter, Workload},
    registry::{Delta, DeltaBatch, Position, Watcher},
    runtime::blocking::run_blocking,
};

/// Watches Workloads.
pub(super) fn watch(
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
            let page = run_blocking(|| registry.list(&filter, usize::MAX, None, None));
            let page = page.map_err(|error| Status::expired(error.to_string()))?;
            let mut all = page.workloads;
            // Whoever is cut off between two of them has seen all that was before.
            all.sort_unstable_by_key(|workload| workload.revision);
            (page.revision, all, mark)
        }
    };
    let watcher = registry.watch_lifetimes(filter, Position(after)).map_err(|full| desk.refuse(&full))?;
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
                    let Some(step) = self.watcher.next_without_snapshot().await else {
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
    fn write(&mut self, step: &DeltaBatch, greeting: bool) -> Bytes {
        if let Some(oldest) = step.oldest {
            self.desk.delivery.delivered(oldest.elapsed());
        }
        if step.deltas.is_empty() {
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

    fn tell_all(&mut self, step: &DeltaBatch) -> Bytes {
        for told in &step.deltas {
            self.tell(told);
        }
        self.lines.take()
    }

    fn tell(&mut self, Delta { before, now, revision }: &Delta) {
        let kind = Arc::clone(&self.desk.workloads);
        let seen = |workload, revision| Seen { kind: &kind, workload, revision };
        match (before, now) {
            (Some(_), Some(now)) => self.lines.change("MODIFIED", &seen(now, *revision)),
            (Some(gone), None) => self.lines.change("DELETED", &seen(gone, *revision)),
            (None, Some(now)) => self.lines.change("ADDED", &seen(now, *revision)),
            (None, None) => {}
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
