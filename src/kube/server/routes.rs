//! The paths of the server and their handlers.

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
    access::AccessPolicy,
    middleware::{check_access, discard_body},
    request_metrics::count_requests,
};
use crate::{
    config::KubeSettings,
    kube::{
        admission,
        api::{
            discovery::{self, DiscoveryDocuments},
            health,
            openapi::{self, OpenApiDocuments},
            version,
        },
        objects::{events, kind::Kind, state::ApiState, workloads},
        protocol::status::Status,
    },
    model::MANAGED,
    telemetry::{metrics::KubeMetrics, readyz::ReadyChecks},
};

/// Builds the router of all paths, with the middleware that every request passes.
pub(super) fn routes(
    state: &Arc<ApiState>,
    settings: &KubeSettings,
    policy: AccessPolicy,
    checks: ReadyChecks,
    metrics: KubeMetrics,
) -> Router {
    let webhooks = admission::routes(&state.registry, &settings.admission);
    // Behind kube-apiserver the core group is kube-apiserver's own: its aggregation layer would
    // take the part that is served here for all of it.
    let serves_core = settings.front_proxy().is_none();
    let api = api(state, serves_core, checks).fallback(not_found);
    let routes = webhooks.fallback_service(from_fn(discard_body).layer(api));
    // Access is checked before a route is chosen, because that may change the path.
    let checked = from_fn_with_state(Arc::new(policy), check_access).layer(routes);
    Router::new().fallback_service(from_fn_with_state(metrics, count_requests).layer(checked))
}

fn api(state: &Arc<ApiState>, serves_core: bool, checks: ReadyChecks) -> Router {
    let (workloads, events) = (&*state.workloads, &*state.events);
    let (group, version) = (format!("/apis/{}", workloads.group), format!("/apis/{}", workloads.api_version));
    let documents = Arc::new(DiscoveryDocuments::new(workloads, events, serves_core));
    let openapi = Arc::new(OpenApiDocuments::new(workloads, events, serves_core));
    let health = Router::new()
        .route("/livez", get_only(health::live))
        .route("/healthz", get_only(health::live))
        .route("/readyz", get_only(health::ready));
    let discovery = Router::new()
        .route("/", get_only(discovery::root))
        .route("/apis", get_only(discovery::groups))
        .route(&group, get_only(discovery::group))
        .route(&version, get_only(discovery::resources));
    let schemas = Router::new()
        .route("/openapi/v2", get_only(openapi::v2))
        .route("/openapi/v3", get_only(openapi::v3))
        .route(&format!("/openapi/v3{version}"), get_only(openapi::v3_workloads));
    let objects = Router::new()
        .route(&format!("{version}/workloads"), read_only_workloads(workloads::list_or_watch))
        .route(
            &format!("{version}/namespaces/{{namespace}}/workloads"),
            read_only_workloads(workloads::list_or_watch),
        )
        .route(
            &format!("{version}/namespaces/{{namespace}}/workloads/{{name}}"),
            read_only_workloads(workloads::get_one),
        );
    let (discovery, schemas, objects) = if serves_core {
        let discovery = discovery
            .route("/api", get_only(discovery::core_versions))
            .route("/api/v1", get_only(discovery::core_resources));
        let schemas = schemas.route("/openapi/v3/api/v1", get_only(openapi::v3_events));
        let objects = objects
            .route("/api/v1/events", read_only_events(events::list_or_watch))
            .route("/api/v1/namespaces/{namespace}/events", read_only_events(events::list_or_watch))
            .route("/api/v1/namespaces/{namespace}/events/{name}", read_only_events(events::get_one));
        (discovery, schemas, objects)
    } else {
        (discovery, schemas, objects)
    };
    Router::new()
        .route("/version", get_only(version::version))
        .merge(health.with_state(checks))
        .merge(discovery.with_state(documents))
        .merge(schemas.with_state(openapi))
        .merge(objects.with_state(Arc::clone(state)))
}

/// Routes GET and HEAD to `handler`, and rejects other methods.
fn get_only<H: Handler<T, S>, T: 'static, S: Clone + Send + Sync + 'static>(handler: H) -> MethodRouter<S> {
    get(handler).fallback(async || {
        let message = "the server does not allow this method on the requested resource";
        rejection(Status::method_not_allowed("", "", message.to_owned()))
    })
}

type ObjectRoutes = MethodRouter<Arc<ApiState>>;

fn read_only_workloads<H: Handler<T, Arc<ApiState>>, T: 'static>(handler: H) -> ObjectRoutes {
    get(handler).fallback(async |State(state): State<Arc<ApiState>>, method: Method| {
        rejection(read_only(&state.workloads, &method, MANAGED))
    })
}

fn read_only_events<H: Handler<T, Arc<ApiState>>, T: 'static>(handler: H) -> ObjectRoutes {
    get(handler).fallback(async |State(state): State<Arc<ApiState>>, method: Method| {
        rejection(read_only(&state.events, &method, "Events are recorded by headcount only."))
    })
}

fn read_only(kind: &Kind, method: &Method, explanation: &str) -> Status {
    let verb = match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "this method",
    };
    let Kind { group, plural, .. } = kind;
    let resource = if group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{group}") };
    let message = format!("{resource} are read-only: {verb} is not supported. {explanation}");
    Status::method_not_allowed(plural, group, message)
}

fn rejection(status: Status) -> Response {
    status.allowing("GET, HEAD")
}

/// kube-apiserver's response for unknown paths, by which kubectl recognizes that the server
/// does not have a resource.
async fn not_found() -> Response {
    let plain = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::NOT_FOUND, plain, "404 page not found\n").into_response()
}
