//! The options of lists and watches.

use std::time::Duration;

use crate::model::{FieldSelector, LabelSelector};

/// The options of a request to a collection.
#[derive(Debug)]
pub(crate) enum CollectionOptions {
    List(ListOptions),
    Watch(WatchOptions),
}

impl CollectionOptions {
    /// Whether the response begins with the current objects. Otherwise it continues an earlier
    /// response, or has changes only.
    pub(crate) fn begins_with_objects(&self) -> bool {
        match self {
            Self::List(options) => matches!(options.page, Page::First { .. }),
            Self::Watch(options) => matches!(options.start, WatchStart::InitialEvents { .. }),
        }
    }
}

/// Options that lists and watches share.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
    pub(crate) include: IncludeObject,
}

#[derive(Debug)]
pub(crate) struct ListOptions {
    pub(crate) selection: Selection,
    pub(crate) page: Page,
}

/// Which page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// The first page; the whole list if there is no limit.
    First { limit: Option<usize>, at: ListRevision },
    /// The page after the one that returned `token`.
    Next { limit: Option<usize>, token: String },
}

/// The revision that a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListRevision {
    /// The latest, which must be `not_older_than` or newer.
    Latest { not_older_than: u64 },
    /// Exactly this one.
    Exact(u64),
}

#[derive(Debug)]
pub(crate) struct WatchOptions {
    pub(crate) selection: Selection,
    pub(crate) start: WatchStart,
    /// Whether the client accepts bookmarks.
    pub(crate) bookmarks: bool,
    pub(crate) timeout: Duration,
}

/// Where a watch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WatchStart {
    /// With an `ADDED` event for each existing object, at revision `not_older_than` or newer.
    /// `mark_end`: a bookmark marks the end of these events.
    InitialEvents { not_older_than: u64, mark_end: bool },
    /// With the first change after this revision.
    After(u64),
    /// With the next change.
    Now,
}

/// What the rows of a table contain of their objects (`includeObject`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}
