//! Events in Kubernetes' core API, so that `kubectl describe` and `kubectl events` show what
//! is wrong with a Workload.

mod object;
mod watch;

use std::sync::Arc;

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};

use self::object::EventObject;
pub(crate) use self::object::kind;
use super::{list::list_response, renderer::Renderer, right::Right, state::ApiState};
use crate::{
    kube::protocol::{
        negotiation::Representation,
        options::{CollectionOptions, ListRevision, Page},
        path::{PathParams, check_name},
        query::{Query, check_reached},
        response::{JSON, response},
        status::Status,
    },
    registry::events::Event,
    runtime::blocking::run_blocking,
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
    check_name(&name)?;
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
    Extension(right): Extension<Right>,
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
            let matching = |event: &EventObject| event.matches(&options.selection, namespace.as_deref());
            // Up to 1,000 events, each with a lookup of its Workload.
            let matching = run_blocking(|| objects.filter(matching).collect());
            let renderer = renderer(options.selection.include);
            Ok(list_response(renderer, latest, "", matching, Renderer::list_item))
        }
        CollectionOptions::Watch(options) => {
            let renderer = renderer(options.selection.include);
            watch::watch(&state, renderer, namespace, options, &right)
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
            if available { Ok(()) } else { Err(Status::resource_version_too_old(revision, latest)) }
        }
    }
}
