//! Workloads: get, list and watch.

mod object;
mod watch;

use std::sync::Arc;

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};

use self::object::WorkloadObject;
pub(crate) use self::object::kind;
use super::{list::list_response, renderer::Renderer, right::Right, state::ApiState};
use crate::{
    kube::protocol::{
        negotiation::Representation,
        options::{CollectionOptions, ListOptions, ListRevision, Page, Selection},
        path::{PathParams, check_name},
        query::{Query, check_reached},
        response::{JSON, response, with_warning},
        status::Status,
    },
    model::{Filter, NAME_FIELD, NAMESPACE_FIELD, Workload, WorkloadKey},
    registry::{
        WarmingStatus,
        token::{self, PageToken},
    },
    runtime::blocking::run_blocking,
};

/// The supported field selectors.
const FIELDS: [&str; 2] = [NAME_FIELD, NAMESPACE_FIELD];

/// Handles a request for one Workload.
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
    let (kind, query) = (&state.workloads, Query::new(query.as_deref()));
    let (representation, include) = (Representation::negotiate(&headers)?, query.include_object()?);
    let renderer = Renderer { kind: Arc::clone(kind), representation, include };
    let not_found = || Status::not_found(kind.plural, &kind.group, &name);
    // No Workload can have an invalid name.
    let key = WorkloadKey::parse(&namespace, &name).map_err(|_| not_found())?;
    let warming = state.registry.warming();
    let (workload, revision) = state.registry.get(&key);
    check_reached(query.not_older_than()?, revision)?;
    let workload = workload.ok_or_else(not_found)?;
    let response = response(JSON, renderer.object(&WorkloadObject::new(kind, &workload), true));
    Ok(warn_of(warming, response))
}

/// Handles a list or a watch of all Workloads, or of those in a namespace.
///
/// # Errors
///
/// 400, 406 or 422 if the request is malformed, 410 if the requested revision or page is no
/// longer available, 429 if a limit of watches is reached, 504 if the requested revision is
/// newer than the latest.
pub(crate) async fn list_or_watch(
    State(state): State<Arc<ApiState>>,
    namespace: Option<PathParams<String>>,
    Extension(right): Extension<Right>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Status> {
    let namespace = namespace.as_ref().map(|PathParams(namespace)| namespace.as_str());
    let representation = Representation::negotiate(&headers)?;
    let options = Query::new(query.as_deref()).options(&FIELDS)?;
    let renderer = |include| Renderer { kind: Arc::clone(&state.workloads), representation, include };
    // Once for a list: kubectl prints the warning of each page, and of the watch that follows.
    let warming = state.registry.warming().filter(|_| options.begins_with_objects());
    let response = match options {
        CollectionOptions::List(options) => {
            let renderer = renderer(options.selection.include);
            list(&state, renderer, namespace, options)
        }
        CollectionOptions::Watch(options) => {
            let renderer = renderer(options.selection.include);
            let filter = filter(namespace, &options.selection);
            watch::watch(&state, renderer, filter, &options, &right)
        }
    }?;
    Ok(warn_of(warming, response))
}

/// Adds a warning to a response if the server was warming before its objects were read: a state
/// of a server that was not is complete.
fn warn_of(warming: Option<WarmingStatus>, response: Response) -> Response {
    match warming {
        Some(status) => with_warning(response, &status.to_string()),
        None => response,
    }
}

/// Builds the filter of a request. The namespace of the path is compared as text, so that an
/// invalid one matches nothing.
fn filter(namespace: Option<&str>, selection: &Selection) -> Filter {
    let fields = selection.fields.clone();
    let fields = match namespace {
        Some(namespace) => fields.and(NAMESPACE_FIELD, namespace),
        None => fields,
    };
    Filter { selector: selection.labels.clone(), fields, ..Filter::default() }
}

fn list(
    state: &ApiState,
    renderer: Renderer,
    namespace: Option<&str>,
    options: ListOptions,
) -> Result<Response, Status> {
    let filter = filter(namespace, &options.selection);
    let (registry, fingerprint) = (&state.registry, filter.fingerprint());
    let (limit, at, after) = match options.page {
        Page::First { limit, at: ListRevision::Latest { not_older_than } } => {
            check_reached(not_older_than, registry.head())?;
            (limit, None, None)
        }
        Page::First { limit, at: ListRevision::Exact(revision) } => {
            check_reached(revision, registry.head())?;
            (limit, Some(revision), None)
        }
        Page::Next { limit, token } => match token::read_page(registry, &token, fingerprint) {
            Ok(PageToken::Next { revision, after }) => (limit, Some(revision), Some(after)),
            Ok(PageToken::First) => (limit, None, None),
            Ok(PageToken::Stale) => return Err(stale_token()),
            Err(invalid) => return Err(Status::bad_request(format!("continue: {}", invalid.problem))),
        },
    };
    let page = run_blocking(|| registry.list(&filter, limit.unwrap_or(usize::MAX), at, after.as_ref()));
    let page = page.map_err(|error| Status::expired(error.to_string()))?;
    let next = page.next_after.map(|after| token::page(registry, page.revision, fingerprint, &after));
    Ok(list_response(
        renderer,
        page.revision,
        &next.unwrap_or_default(),
        page.workloads,
        |renderer, workload: &Arc<Workload>| {
            renderer.list_item(&WorkloadObject::new(&renderer.kind, workload))
        },
    ))
}

fn stale_token() -> Status {
    Status::expired(
        "The continue parameter was not issued by this run of the server: start a new list without it.",
    )
}

/// Returns the UID of a Workload, if it exists.
pub(super) fn uid_of(state: &ApiState, key: &WorkloadKey) -> Option<uuid::Uuid> {
    state.registry.get(key).0.map(|workload| workload.identity.uid)
}
