//! Watches of events.

use std::{sync::Arc, time::Duration};

use axum::response::Response;
use bytes::Bytes;
use tokio::{sync::watch, time::timeout};

use super::object::EventObject;
use crate::{
    kube::{
        objects::{
            renderer::Renderer,
            right::Right,
            state::ApiState,
            watch::{WatchEncoder, WatchSource, watch_response},
        },
        protocol::{
            options::{Selection, WatchOptions, WatchStart},
            query::check_reached,
            status::Status,
        },
    },
    registry::WatchPermit,
    runtime::blocking::run_blocking,
};

/// No event has this revision.
const BEFORE_ALL: u64 = 0;

/// Interval of bookmarks while there are no changes.
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);

/// Starts a watch of all events, or of those in a namespace.
pub(super) fn watch(
    state: &Arc<ApiState>,
    renderer: Renderer,
    namespace: Option<String>,
    options: WatchOptions,
    right: &Right,
) -> Result<Response, Status> {
    let events = state.registry.events();
    let latest = events.subscribe();
    let (sent, mark_end) = match options.start {
        WatchStart::After(revision) => (revision, false),
        WatchStart::Now => (events.head(), false),
        WatchStart::InitialEvents { not_older_than, mark_end } => {
            check_reached(not_older_than, events.head())?;
            (BEFORE_ALL, mark_end && options.bookmarks)
        }
    };
    let permit = state.registry.permit_watch(&right.accounts());
    let watch = EventWatch {
        encoder: WatchEncoder::new(renderer),
        namespace,
        selection: options.selection,
        latest,
        sent,
        mark_end,
        expired: false,
        bookmarks: options.bookmarks,
        _permit: permit.map_err(|limit| state.limit_reached(&limit))?,
        state: Arc::clone(state),
    };
    watch_response(state, options.timeout, right, watch)
}

/// A cursor into the events. An event that is evicted to make room for newer ones is not sent
/// as deleted: as in Kubernetes, events expire silently.
struct EventWatch {
    state: Arc<ApiState>,
    encoder: WatchEncoder,
    namespace: Option<String>,
    selection: Selection,
    /// Changes when an event is recorded.
    latest: watch::Receiver<u64>,
    /// Everything up to this revision has been sent.
    sent: u64,
    /// Whether a bookmark must mark the end of the initial events.
    mark_end: bool,
    bookmarks: bool,
    /// Whether the client must list again.
    expired: bool,
    _permit: WatchPermit,
}

impl WatchSource for EventWatch {
    async fn next(&mut self) -> Option<Bytes> {
        if self.expired {
            return None;
        }
        loop {
            self.latest.borrow_and_update();
            if self.sent == BEFORE_ALL {
                run_blocking(|| self.encode_new());
            } else {
                self.encode_new();
            }
            if !self.encoder.is_empty() {
                return Some(self.encoder.take());
            }
            // The sender is in the registry, which `state` keeps alive.
            match timeout(BOOKMARK_INTERVAL, self.latest.changed()).await {
                Ok(changed) => changed.ok()?,
                Err(_elapsed) if self.bookmarks => self.encoder.bookmark(self.sent, false),
                Err(_elapsed) => {}
            }
        }
    }
}

impl EventWatch {
    fn encode_new(&mut self) {
        let log = self.state.registry.events();
        if self.sent != BEFORE_ALL && !log.reaches(self.sent) {
            self.encoder.error(&Status::resource_version_too_old(self.sent, log.head()));
            self.expired = true;
            return;
        }
        let (events, latest) = log.after(self.sent);
        for event in events {
            let r#type = if event.first_number > self.sent { "ADDED" } else { "MODIFIED" };
            let object = EventObject::new(&self.state, event);
            if object.matches(&self.selection, self.namespace.as_deref()) {
                self.encoder.change(r#type, &object);
            }
        }
        self.sent = latest;
        if std::mem::take(&mut self.mark_end) {
            self.encoder.bookmark(latest, true);
        }
    }
}
