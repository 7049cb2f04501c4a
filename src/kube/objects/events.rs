//! Events in Kubernetes' core API, so that `kubectl describe` and `kubectl events` show what
//! is wrong with a Workload.

mod watch;

use std::{sync::Arc, time::SystemTime};

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    kind::{Column, Kind},
    list::list_response,
    renderer::{Object, Renderer},
    state::ApiState,
    workloads::uid_of,
};
use crate::{
    convert::resource::{
        DATAPLANE_KIND, EventFacts, EventResource, InvolvedObject, Metadata, WARNING, WorkloadResource,
        age_of,
    },
    kube::protocol::{
        negotiation::Representation,
        options::{CollectionOptions, ListRevision, Page, Selection},
        path::PathParams,
        query::{Query, check_reached},
        response::{JSON, response},
        status::Status,
    },
    registry::events::{Event, Regarding},
};

/// The supported field selectors. kubectl selects by `involvedObject`.
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

/// The columns that kubectl prints for events of any Kubernetes cluster.
const COLUMNS: [Column; 8] = [
    Column::text("Last Seen", "Time since the last occurrence."),
    Column::text("Type", "Warning, or Normal."),
    Column::text("Reason", "One word for machines."),
    Column::text("Object", "The object that the event is about."),
    Column::text("Message", "A sentence for people."),
    Column::text("First Seen", "Time since the first occurrence.").wide(),
    Column::number("Count", "Number of occurrences.").wide(),
    Column::name("The name of the event, the same for all occurrences.").wide(),
];

/// Describes events of Kubernetes' core API.
pub(crate) fn kind() -> Kind {
    Kind {
        group: String::new(),
        version: "v1",
        api_version: "v1".to_owned(),
        name: "Event",
        plural: "events",
        columns: &COLUMNS,
    }
}

/// An event as an API object, with the UID of the Workload that it is about, if that exists.
struct EventObject {
    event: Arc<Event>,
    name: String,
    workload_uid: Option<Uuid>,
    workloads: Arc<Kind>,
}

impl EventObject {
    fn new(state: &ApiState, event: Arc<Event>) -> Self {
        let workload_uid = event.regarding.workload().and_then(|key| uid_of(state, key));
        Self { name: event.uid.to_string(), workload_uid, workloads: Arc::clone(&state.workloads), event }
    }

    fn involved(&self) -> InvolvedObject<'_> {
        let (kind, name) = match &self.event.regarding {
            Regarding::Workload(key) => (WorkloadResource::KIND, key.name.as_str()),
            Regarding::Proxy(proxy) => (DATAPLANE_KIND, proxy.name()),
        };
        let namespace = self.event.regarding.namespace().as_str();
        let api_version = &self.workloads.api_version;
        InvolvedObject { api_version, kind, name, namespace, uid: self.workload_uid }
    }

    fn matches(&self, selection: &Selection, namespace: Option<&str>) -> bool {
        let involved = self.involved();
        let uid = self.workload_uid.map(|uid| uid.to_string()).unwrap_or_default();
        namespace.is_none_or(|namespace| namespace == involved.namespace)
            && selection.labels.matches(|_| None)
            && selection.fields.matches(|field| match field {
                "metadata.name" => &self.name,
                "metadata.namespace" | "involvedObject.namespace" => involved.namespace,
                "involvedObject.kind" => involved.kind,
                "involvedObject.name" => involved.name,
                "involvedObject.uid" => &uid,
                "involvedObject.apiVersion" => involved.api_version,
                "reason" => self.event.reason.as_str(),
                "source" | "reportingComponent" => EventResource::COMPONENT,
                "type" => WARNING,
                _ => "",
            })
    }
}

impl Object for EventObject {
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

/// Handles a request for one event.
///
/// # Errors
///
/// 404 if it does not exist, 504 if the requested revision is newer than the latest, 400 or
/// 406 if the request is malformed.
pub(crate) async fn get_one(
    State(state): State<Arc<ApiState>>,
    PathParams((namespace, name)): PathParams<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Status> {
    let (kind, query) = (&state.events, Query::new(query.as_deref()));
    let (representation, include) = (Representation::negotiate(&headers)?, query.include_object()?);
    let renderer = Renderer { kind: Arc::clone(kind), representation, include };
    let (events, latest) = state.registry.events().after(0);
    check_reached(query.not_older_than()?, latest)?;
    let matches = |event: &Arc<Event>| {
        event.regarding.namespace().as_str() == namespace && event.uid.to_string() == name
    };
    let event = events.into_iter().find(matches);
    let event = event.ok_or_else(|| Status::not_found(kind.plural, &kind.group, &name))?;
    Ok(response(JSON, renderer.object(&EventObject::new(&state, event), true)))
}

/// Handles a list or a watch of all events, or of those in a namespace.
///
/// # Errors
///
/// 400, 406 or 422 if the request is malformed, 410 if the requested revision is no longer
/// available, 429 if a limit of watches is reached, 504 if the requested revision is newer
/// than the latest.
pub(crate) async fn list_or_watch(
    State(state): State<Arc<ApiState>>,
    namespace: Option<PathParams<String>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Status> {
    let namespace = namespace.map(|PathParams(namespace)| namespace);
    let representation = Representation::negotiate(&headers)?;
    let options = Query::new(query.as_deref()).options(&FIELDS)?;
    let renderer = |include| Renderer { kind: Arc::clone(&state.events), representation, include };
    match options {
        CollectionOptions::List(options) => {
            let (events, latest) = state.registry.events().after(0);
            check_page(&state, &options.page, latest)?;
            let objects = events.into_iter().map(|event| EventObject::new(&state, event));
            let matching =
                objects.filter(|event| event.matches(&options.selection, namespace.as_deref())).collect();
            let renderer = renderer(options.selection.include);
            Ok(list_response(renderer, latest, "", matching, Renderer::list_item))
        }
        CollectionOptions::Watch(options) => {
            let renderer = renderer(options.selection.include);
            watch::watch(&state, renderer, namespace, options)
        }
    }
}

/// Checks that the requested page is available: only the first one, which has all events, and
/// only at the latest revision, because past states of events are not kept.
fn check_page(state: &ApiState, page: &Page, latest: u64) -> Result<(), Status> {
    match *page {
        Page::Next { .. } => Err(Status::bad_request("continue: lists of events have only one page")),
        Page::First { at: ListRevision::Latest { not_older_than }, .. } => {
            check_reached(not_older_than, latest)
        }
        Page::First { at: ListRevision::Exact(revision), .. } => {
            check_reached(revision, latest)?;
            let available = revision == latest && state.registry.events().reaches(revision);
            if available { Ok(()) } else { Err(expired(revision, latest)) }
        }
    }
}

fn expired(requested: u64, latest: u64) -> Status {
    Status::expired(format!("too old resource version: {requested} ({latest})"))
}
