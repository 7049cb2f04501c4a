//! Events, as Kubernetes' core API has them, so that `kubectl describe` and
//! `kubectl events` show what is wrong with a Workload.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::{sync::watch, time::timeout};
use uuid::Uuid;

use super::{
    list::list_of,
    renderer::{Column, Kind, Pen, Shown},
    watch::{Lines, Telling, stream_of},
    workloads::uid_of,
};
use crate::{
    convert::resource::{
        DATAPLANE_KIND, EventFacts, EventResource, InvolvedObject, Metadata, WARNING, WorkloadResource,
        age_of,
    },
    kube::{
        Desk,
        protocol::{
            negotiation::Form,
            options::{Asked, At, Page, Query, Selection, Start, WatchOptions, at_least},
            path::Names,
            response::{JSON, answer},
            status::Status,
        },
    },
    registry::WatchPermit,
    registry::events::{Event, Regarding},
};

/// By which events can be selected; kubectl asks by `involvedObject`.
const FIELDS: [&str; 13] = [
    "metadata.name",
    "metadata.namespace",
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.fieldPath",
    "involvedObject.resourceVersion",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// Those that kubectl's users know.
const COLUMNS: [Column; 8] = [
    Column::text("Last Seen", "Since it last happened."),
    Column::text("Type", "Warning, or Normal."),
    Column::text("Reason", "One word for machines."),
    Column::text("Object", "What it is about."),
    Column::text("Message", "A sentence for people."),
    Column::text("First Seen", "Since it first happened.").wide(),
    Column::number("Count", "How often it has happened.").wide(),
    Column::name("A name, the same for every repetition.").wide(),
];

/// Events of Kubernetes' core API.
pub(crate) fn kind() -> Kind {
    Kind {
        group: String::new(),
        api_version: "v1".to_owned(),
        name: "Event",
        plural: "events",
        columns: &COLUMNS,
    }
}

/// An event, and the life of the Workload that it is about, if there is one now.
struct Seen {
    event: Arc<Event>,
    name: String,
    life: Option<Uuid>,
    workloads: Arc<Kind>,
}

impl Seen {
    fn new(desk: &Desk, event: Arc<Event>) -> Self {
        let life = event.regarding.workload().and_then(|key| uid_of(desk, key));
        Self { name: event.uid.to_string(), life, workloads: Arc::clone(&desk.workloads), event }
    }

    fn involved(&self) -> InvolvedObject<'_> {
        let (kind, name) = match &self.event.regarding {
            Regarding::Workload(key) => (WorkloadResource::KIND, key.name.as_str()),
            Regarding::Proxy(stranger) => (DATAPLANE_KIND, stranger.name()),
        };
        let namespace = self.event.regarding.namespace().as_str();
        InvolvedObject { api_version: &self.workloads.api_version, kind, name, namespace, uid: self.life }
    }

    fn matches(&self, selection: &Selection, namespace: Option<&str>) -> bool {
        let involved = self.involved();
        let life = self.life.map(|life| life.to_string()).unwrap_or_default();
        namespace.is_none_or(|namespace| namespace == involved.namespace)
            && selection.labels.matches(|_| None)
            && selection.fields.matches(|field| match field {
                "metadata.name" => &self.name,
                "metadata.namespace" | "involvedObject.namespace" => involved.namespace,
                "involvedObject.kind" => involved.kind,
                "involvedObject.name" => involved.name,
                "involvedObject.uid" => &life,
                "involvedObject.apiVersion" => involved.api_version,
                "reason" => self.event.reason.as_str(),
                "source" | "reportingComponent" => EventResource::COMPONENT,
                "type" => WARNING,
                _ => "",
            })
    }
}

impl Shown for Seen {
    fn revision(&self) -> u64 {
        self.event.number
    }

    fn metadata(&self) -> Metadata<'_> {
        Metadata {
            name: &self.name,
            namespace: self.event.regarding.namespace().as_str(),
            uid: Some(self.event.uid),
            resource_version: Some(self.event.number),
            creation_timestamp: Some(humantime::format_rfc3339_seconds(self.event.first_time)),
            ..Metadata::default()
        }
    }

    fn resource(&self) -> impl Serialize {
        let event = &*self.event;
        let at = |time| Some(humantime::format_rfc3339_seconds(time).to_string());
        let facts = EventFacts {
            r#type: WARNING,
            reason: event.reason.as_str(),
            message: &event.message,
            count: event.count,
            first: at(event.first_time),
            last: at(event.last_time),
        };
        EventResource::new(self.metadata(), self.involved(), facts)
    }

    fn cells(&self, now: SystemTime) -> Vec<Value> {
        let (event, involved) = (&self.event, self.involved());
        vec![
            age_of(event.last_time, now).into(),
            WARNING.into(),
            event.reason.as_str().into(),
            format!("{}/{}", involved.kind.to_lowercase(), involved.name).into(),
            event.message.as_str().into(),
            age_of(event.first_time, now).into(),
            event.count.into(),
            self.name.as_str().into(),
        ]
    }
}

/// Answers for one event.
pub(crate) async fn one(
    State(desk): State<Arc<Desk>>,
    Names((namespace, name)): Names<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Status> {
    let (kind, query) = (&desk.events, Query::new(query.as_deref()));
    let pen = Pen { kind: Arc::clone(kind), form: Form::of(&headers)?, include: query.include()? };
    let (events, head) = desk.registry.events().after(0);
    at_least(query.at_least()?, head)?;
    let is_it = |event: &Arc<Event>| {
        event.regarding.namespace().as_str() == namespace && event.uid.to_string() == name
    };
    let event = events.into_iter().find(is_it);
    let event = event.ok_or_else(|| Status::not_found(kind.plural, &kind.group, &name))?;
    Ok(answer(JSON, pen.object(&Seen::new(&desk, event), true)))
}

/// Answers for all events, or for those of a namespace.
pub(crate) async fn many(
    State(desk): State<Arc<Desk>>,
    namespace: Option<Names<String>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Status> {
    let namespace = namespace.map(|Names(namespace)| namespace);
    let (form, asked) = (Form::of(&headers)?, Query::new(query.as_deref()).options(&FIELDS)?);
    let pen = |include| Pen { kind: Arc::clone(&desk.events), form, include };
    match asked {
        Asked::List(options) => {
            let (events, head) = desk.registry.events().after(0);
            reach(&desk, &options.page, head)?;
            let seen = events.into_iter().map(|event| Seen::new(&desk, event));
            let wanted = seen.filter(|seen| seen.matches(&options.selection, namespace.as_deref())).collect();
            Ok(list_of(pen(options.selection.include), head, "", wanted, Pen::item))
        }
        Asked::Watch(options) => {
            let pen = pen(options.selection.include);
            follow(&desk, pen, namespace, options)
        }
    }
}

/// There are few events, so all are in the first page; and there is no memory of
/// how they were.
fn reach(desk: &Desk, page: &Page, head: u64) -> Result<(), Status> {
    match *page {
        Page::Next { .. } => Err(Status::bad_request("continue: no list of events has a second page")),
        Page::First { at: At::Latest { at_least: least }, .. } => at_least(least, head),
        Page::First { at: At::Exactly(number), .. } => {
            at_least(number, head)?;
            let same = number == head && desk.registry.events().reaches(number);
            if same { Ok(()) } else { Err(too_old(number, head)) }
        }
    }
}

fn too_old(asked: u64, head: u64) -> Status {
    Status::expired(format!("too old resource version: {asked} ({head})"))
}

fn follow(
    desk: &Arc<Desk>,
    pen: Pen,
    namespace: Option<String>,
    options: WatchOptions,
) -> Result<Response, Status> {
    let events = desk.registry.events();
    let news = events.subscribe();
    let (seen, mark) = match options.start {
        Start::After(number) => (number, false),
        Start::Now => (events.head(), false),
        Start::Everything { at_least: least, mark } => {
            at_least(least, events.head())?;
            (BEFORE_ALL, mark && options.bookmarks)
        }
    };
    let watch = EventWatch {
        lines: Lines::new(pen),
        namespace,
        selection: options.selection,
        news,
        seen,
        mark,
        over: false,
        bookmarks: options.bookmarks,
        _permit: desk.registry.permit_watch().map_err(|full| desk.refuse(&full))?,
        desk: Arc::clone(desk),
    };
    stream_of(desk, options.timeout, watch)
}

/// No event has this number.
const BEFORE_ALL: u64 = 0;

/// How often a quiet reader hears how far it is.
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);

/// A cursor into the events. What made room for others is not told as gone: like
/// Kubernetes' own, events are for people, and they end without notice.
struct EventWatch {
    desk: Arc<Desk>,
    lines: Lines,
    namespace: Option<String>,
    selection: Selection,
    news: watch::Receiver<u64>,
    /// All up to this number is known to the reader.
    seen: u64,
    /// The reader is to be told that it knows all there was.
    mark: bool,
    bookmarks: bool,
    /// The reader has to list again.
    over: bool,
    _permit: WatchPermit,
}

impl Telling for EventWatch {
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        loop {
            self.news.borrow_and_update();
            self.look();
            if !self.lines.is_empty() {
                return Some(self.lines.take());
            }
            // The sender lives in the registry, which we hold.
            match timeout(BOOKMARK_INTERVAL, self.news.changed()).await {
                Ok(changed) => changed.ok()?,
                Err(_quiet) if self.bookmarks => self.lines.bookmark(self.seen, false),
                Err(_quiet) => {}
            }
        }
    }
}

impl EventWatch {
    fn look(&mut self) {
        let log = self.desk.registry.events();
        if self.seen != BEFORE_ALL && !log.reaches(self.seen) {
            self.lines.error(&too_old(self.seen, log.head()));
            self.over = true;
            return;
        }
        let (events, head) = log.after(self.seen);
        for event in events {
            let change = if event.first_number > self.seen { "ADDED" } else { "MODIFIED" };
            let seen = Seen::new(&self.desk, event);
            if seen.matches(&self.selection, self.namespace.as_deref()) {
                self.lines.change(change, &seen);
            }
        }
        self.seen = head;
        if std::mem::take(&mut self.mark) {
            self.lines.bookmark(head, true);
        }
    }
}
