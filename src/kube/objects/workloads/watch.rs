//! Watches of Workloads: the deltas of a registry's watcher as watch events.

use std::{sync::Arc, vec};

use axum::response::Response;
use bytes::Bytes;

use super::object::WorkloadObject;
use crate::{
    kube::{
        objects::{
            renderer::Renderer,
            right::Right,
            state::ApiState,
            watch::{WatchEncoder, WatchSource, watch_response},
        },
        protocol::{
            options::{WatchOptions, WatchStart},
            query::check_reached,
            status::Status,
        },
    },
    model::{Filter, Workload},
    registry::{Delta, DeltaBatch, Position, Watcher},
    runtime::blocking::run_blocking,
};

/// Starts a watch of the Workloads that match `filter`.
pub(super) fn watch(
    state: &Arc<ApiState>,
    renderer: Renderer,
    filter: Filter,
    options: &WatchOptions,
    right: &Right,
) -> Result<Response, Status> {
    let registry = &state.registry;
    let (after, initial, mark_end) = match options.start {
        WatchStart::After(revision) => (revision, Vec::new(), false),
        WatchStart::Now => (registry.head(), Vec::new(), false),
        WatchStart::InitialEvents { not_older_than, mark_end } => {
            check_reached(not_older_than, registry.head())?;
            let page = run_blocking(|| registry.list(&filter, usize::MAX, None, None));
            let page = page.map_err(|error| Status::expired(error.to_string()))?;
            let mut all = page.workloads;
            // So that a client that is disconnected after any of them can resume at its revision.
            all.sort_unstable_by_key(|workload| workload.revision);
            (page.revision, all, mark_end)
        }
    };
    let watcher = registry.watch_lifetimes(&right.accounts(), filter, Position(after));
    let watcher = watcher.map_err(|limit| state.limit_reached(&limit))?;
    let watch = WorkloadWatch {
        state: Arc::clone(state),
        encoder: WatchEncoder::new(renderer),
        watcher,
        bookmarks: options.bookmarks,
        requested: after,
        phase: Phase::InitialEvents { left: initial.into_iter(), after, mark_end },
    };
    watch_response(state, options.timeout, right, watch)
}

struct WorkloadWatch {
    state: Arc<ApiState>,
    encoder: WatchEncoder,
    watcher: Watcher,
    bookmarks: bool,
    /// The revision that the client requested as the start.
    requested: u64,
    phase: Phase,
}

enum Phase {
    /// Sends the objects that existed when the watch began.
    InitialEvents { left: vec::IntoIter<Arc<Workload>>, after: u64, mark_end: bool },
    /// Sends changes. `first` is true until the watcher has returned its first batch: if that
    /// is a bookmark, it confirms the start of the watch, and is not sent.
    Changes { first: bool },
    /// The client must list again.
    Expired,
}

impl WatchSource for WorkloadWatch {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.encoder.is_empty() {
                return Some(self.encoder.take());
            }
            match &mut self.phase {
                Phase::InitialEvents { left, after, mark_end } => {
                    let kind = Arc::clone(&self.state.workloads);
                    while !self.encoder.is_full()
                        && let Some(workload) = left.next()
                    {
                        self.encoder.change("ADDED", &WorkloadObject::new(&kind, &workload));
                    }
                    if left.len() == 0 {
                        if *mark_end && self.bookmarks {
                            self.encoder.bookmark(*after, true);
                        }
                        self.phase = Phase::Changes { first: true };
                    }
                }
                Phase::Changes { first } => {
                    let first = std::mem::take(first);
                    let Some(batch) = self.watcher.next_without_snapshot().await else {
                        self.phase = Phase::Expired;
                        self.encoder.error(&self.expired());
                        continue;
                    };
                    let lines = self.encode(&batch, first);
                    if !lines.is_empty() {
                        return Some(lines);
                    }
                }
                Phase::Expired => return None,
            }
        }
    }
}

impl WorkloadWatch {
    fn encode(&mut self, batch: &DeltaBatch, first: bool) -> Bytes {
        if let Some(oldest) = batch.oldest {
            self.state.delivery.delivered(oldest.elapsed());
        }
        if batch.deltas.is_empty() {
            if let Some(revision) = batch.synced.filter(|_| self.bookmarks && !first) {
                self.encoder.bookmark(revision, false);
            }
            return self.encoder.take();
        }
        match self.encoder.shared_encoding() {
            Some(encoding) => batch.encoded(encoding, |batch| self.encode_all(batch)),
            None => self.encode_all(batch),
        }
    }

    fn encode_all(&mut self, batch: &DeltaBatch) -> Bytes {
        for delta in &batch.deltas {
            self.encode_delta(delta);
        }
        self.encoder.take()
    }

    fn encode_delta(&mut self, Delta { before, now, revision }: &Delta) {
        let kind = Arc::clone(&self.state.workloads);
        let object = |workload, revision| WorkloadObject { kind: &kind, workload, revision };
        match (before, now) {
            (Some(_), Some(now)) => self.encoder.change("MODIFIED", &object(now, *revision)),
            (Some(gone), None) => self.encoder.change("DELETED", &object(gone, *revision)),
            (None, Some(now)) => self.encoder.change("ADDED", &object(now, *revision)),
            (None, None) => {}
        }
    }

    fn expired(&self) -> Status {
        let (requested, latest) = (self.requested, self.state.registry.head());
        if requested > latest {
            Status::expired(format!(
                "resource version {requested} was not issued by this run of the server, whose latest is {latest}: \
                 list again"
            ))
        } else {
            Status::resource_version_too_old(requested, latest)
        }
    }
}
