//! What is where.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    handler::Handler,
    http::{Method, StatusCode, header::CONTENT_TYPE},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use tower::Layer as _;

use super::{
    access::Access,
    middleware::{gate, without_body},
    request_metrics::observe,
};
use crate::{
    config::AdmissionSettings,
    kube::{
        Desk, admission,
        api::{discovery, openapi, version},
        objects::{events, renderer::Kind, workloads},
        protocol::status::Status,
    },
    model::MANAGED,
};

/// All that the desk answers to, for those to whom it does.
pub(crate) fn routes(desk: Arc<Desk>, admission: &AdmissionSettings, access: Access) -> Router {
    let webhooks = admission::routes(&desk.registry, admission);
    let routes = webhooks.fallback_service(from_fn(without_body).layer(api(Arc::clone(&desk))));
    // The gate comes before a route is chosen: it may change the path.
    let gated = from_fn_with_state(Arc::new(access), gate).layer(routes);
    Router::new().fallback_service(from_fn_with_state(desk, observe).layer(gated))
}

fn api(desk: Arc<Desk>) -> Router {
    let group = format!("/apis/{}", desk.workloads.group);
    let at = |path: &str| format!("/apis/{}{path}", desk.workloads.api_version);
    Router::new()
        .route("/", page(discovery::root))
        .route("/version", page(version::version))
        .route("/livez", page(version::live))
        .route("/healthz", page(version::live))
        .route("/readyz", page(version::ready))
        .route("/apis", page(discovery::groups))
        .route(&group, page(discovery::group))
        .route(&at(""), page(discovery::resources))
        .route("/openapi/v2", page(openapi::v2))
        .route("/openapi/v3", page(openapi::v3))
        .route(&format!("/openapi/v3{}", at("")), page(openapi::v3_workloads))
        .route(&at("/workloads"), read_only_workloads(workloads::many))
        .route(&at("/namespaces/{namespace}/workloads"), read_only_workloads(workloads::many))
        .route(&at("/namespaces/{namespace}/workloads/{name}"), read_only_workloads(workloads::one))
        .merge(if desk.serves_core { core() } else { Router::new() })
        .fallback(unknown)
        .with_state(desk)
}

fn core() -> Router<Arc<Desk>> {
    Router::new()
        .route("/api", page(discovery::core))
        .route("/api/v1", page(discovery::core_resources))
        .route("/openapi/v3/api/v1", page(openapi::v3_events))
        .route("/api/v1/events", read_only_events(events::many))
        .route("/api/v1/namespaces/{namespace}/events", read_only_events(events::many))
        .route("/api/v1/namespaces/{namespace}/events/{name}", read_only_events(events::one))
}

type Routes = MethodRouter<Arc<Desk>>;

fn page<H: Handler<T, Arc<Desk>>, T: 'static>(handler: H) -> Routes {
    get(handler).fallback(async || {
        let message = "the server does not allow this method on the requested resource";
        refused(Status::method_not_allowed("", "", message.to_owned()))
    })
}

fn read_only_workloads<H: Handler<T, Arc<Desk>>, T: 'static>(handler: H) -> Routes {
    get(handler).fallback(async |State(desk): State<Arc<Desk>>, method: Method| {
        refused(read_only(&desk.workloads, &method, MANAGED))
    })
}

fn read_only_events<H: Handler<T, Arc<Desk>>, T: 'static>(handler: H) -> Routes {
    get(handler).fallback(async |State(desk): State<Arc<Desk>>, method: Method| {
        refused(read_only(&desk.events, &method, "Events are recorded by headcount alone."))
    })
}

fn read_only(kind: &Kind, method: &Method, instead: &str) -> Status {
    let verb = match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "this method",
    };
    let Kind { group, plural, .. } = kind;
    let resource = if group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{group}") };
    let message = format!("{resource} are read-only: {verb} is not supported. {instead}");
    Status::method_not_allowed(plural, group, message)
}

fn refused(status: Status) -> Response {
    status.allowing("GET, HEAD")
}

/// In Kubernetes' words, by which kubectl knows that there is no such resource.
async fn unknown() -> Response {
    let plain = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::NOT_FOUND, plain, "404 page not found\n").into_response()
}
