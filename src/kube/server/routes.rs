//! The paths of the server and their handlers.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    handler::Handler,
    http::{Method, StatusCode, header::CONTENT_TYPE},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any, get},
};
use tower::Layer as _;

use super::{
    access::KubeAccess,
    authorize::{RouteAction, check_route},
    middleware::{authenticate, discard_body},
    request_metrics::count_requests,
};
use crate::{
    access::Action,
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
    access: KubeAccess,
    checks: ReadyChecks,
    metrics: KubeMetrics,
) -> Router {
    let webhooks = admission::routes(&state.registry, &settings.admission);
    // Behind kube-apiserver the core group is kube-apiserver's own: its aggregation layer would
    // take the part that is served here for all of it.
    let serves_core = settings.front_proxy().is_none();
    let routes = api(state, serves_core, checks).into_iter().fold(webhooks, Route::add_to);
    // The response to a path that does not exist shows which ones do.
    let unknown = Route::new(Action::ReadSchema, "", any(not_found));
    let routes = routes.fallback_service(unknown.checked());
    // Access is checked before a route is chosen, because that may change the path.
    let authenticated = from_fn_with_state(Arc::new(access), authenticate).layer(routes);
    Router::new().fallback_service(from_fn_with_state(metrics, count_requests).layer(authenticated))
}

/// A path, what a request for it does, and its handler.
struct Route {
    path: String,
    action: RouteAction,
    handler: MethodRouter,
}

impl Route {
    fn new(action: Action, path: impl Into<String>, handler: MethodRouter) -> Self {
        Self { path: path.into(), action: RouteAction { action, kind: None }, handler }
    }

    /// A path of which a request reads objects of a kind.
    fn objects(action: Action, kind: &Arc<Kind>, path: impl Into<String>, handler: MethodRouter) -> Self {
        let action = RouteAction { action, kind: Some(Arc::clone(kind)) };
        Self { path: path.into(), action, handler }
    }

    /// The handler, which no request reaches whose caller has no right to the action.
    fn checked(self) -> MethodRouter {
        let handler = self.handler.layer(from_fn(discard_body));
        handler.layer(from_fn_with_state(self.action, check_route))
    }

    fn add_to(router: Router, route: Self) -> Router {
        let path = route.path.clone();
        router.route(&path, route.checked())
    }
}

/// All paths but those of the webhooks.
fn api(state: &Arc<ApiState>, serves_core: bool, checks: ReadyChecks) -> Vec<Route> {
    let (workloads, events) = (&*state.workloads, &*state.events);
    let (group, version) = (format!("/apis/{}", workloads.group), format!("/apis/{}", workloads.api_version));
    let documents = Arc::new(DiscoveryDocuments::new(workloads, events, serves_core));
    let openapi = Arc::new(OpenApiDocuments::new(workloads, events, serves_core));
    let health = |path, handler: MethodRouter| Route::new(Action::CheckHealth, path, handler);
    let schema = |path: String, handler: MethodRouter| Route::new(Action::ReadSchema, path, handler);
    let discovery = |path: &str, handler: MethodRouter<Arc<DiscoveryDocuments>>| {
        schema(path.to_owned(), handler.with_state(Arc::clone(&documents)))
    };
    let document = |path: &str, handler: MethodRouter<Arc<OpenApiDocuments>>| {
        schema(path.to_owned(), handler.with_state(Arc::clone(&openapi)))
    };
    let workload = |path: &str, handler: ObjectRoutes| {
        let path = format!("{version}{path}");
        Route::objects(Action::ReadWorkloads, &state.workloads, path, handler.with_state(Arc::clone(state)))
    };
    let event = |path: &str, handler: ObjectRoutes| {
        Route::objects(Action::ReadEvents, &state.events, path, handler.with_state(Arc::clone(state)))
    };
    let mut routes = vec![
        health("/livez", get_only(health::live)),
        health("/healthz", get_only(health::live)),
        health("/readyz", get_only(health::ready).with_state(checks)),
        schema("/version".to_owned(), get_only(version::version)),
        discovery("/", get_only(discovery::root)),
        discovery("/apis", get_only(discovery::groups)),
        discovery(&group, get_only(discovery::group)),
        discovery(&version, get_only(discovery::resources)),
        document("/openapi/v2", get_only(openapi::v2)),
        document("/openapi/v3", get_only(openapi::v3)),
        document(&format!("/openapi/v3{version}"), get_only(openapi::v3_workloads)),
        workload("/workloads", read_only_workloads(workloads::list_or_watch)),
        workload("/namespaces/{namespace}/workloads", read_only_workloads(workloads::list_or_watch)),
        workload("/namespaces/{namespace}/workloads/{name}", read_only_workloads(workloads::get_one)),
    ];
    if serves_core {
        routes.extend([
            discovery("/api", get_only(discovery::core_versions)),
            discovery("/api/v1", get_only(discovery::core_resources)),
            document("/openapi/v3/api/v1", get_only(openapi::v3_events)),
            event("/api/v1/events", read_only_events(events::list_or_watch)),
            event("/api/v1/namespaces/{namespace}/events", read_only_events(events::list_or_watch)),
            event("/api/v1/namespaces/{namespace}/events/{name}", read_only_events(events::get_one)),
        ]);
    }
    routes
}

/// A path, and what a request for it does.
#[cfg(test)]
pub(super) type RoutePath = (String, Action);

/// Lists all paths but those of the webhooks.
#[cfg(test)]
pub(super) fn paths(state: &Arc<ApiState>, checks: ReadyChecks) -> Vec<RoutePath> {
    api(state, true, checks).into_iter().map(|route| (route.path, route.action.action)).collect()
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
