//! Counts requests by verb, resource and status code.

use axum::{
    extract::{Request, State},
    http::{Method, Uri},
    middleware::Next,
    response::Response,
};

use crate::{
    kube::{admission, protocol::query::Query},
    telemetry::metrics::KubeMetrics,
};

/// Counts a request when its response starts.
pub(super) async fn count_requests(
    State(metrics): State<KubeMetrics>,
    request: Request,
    next: Next,
) -> Response {
    let (verb, resource) = (verb(request.method(), request.uri()), resource(request.uri()));
    let response = next.run(request).await;
    metrics.answered(verb, resource, response.status().as_u16());
    response
}

/// Returns the Kubernetes verb of a request. All unknown methods share one value, so that
/// clients can't create label values.
pub(super) fn verb(method: &Method, uri: &Uri) -> &'static str {
    match *method {
        Method::POST if uri.path() == admission::VALIDATE => "validate",
        Method::POST if uri.path() == admission::MUTATE => "mutate",
        Method::GET if Query::new(uri.query()).flag("watch") == Some(true) => "watch",
        Method::GET => match resource(uri) {
            "" => "get",
            resource if uri.path().trim_end_matches('/').ends_with(resource) => "list",
            _ => "get",
        },
        Method::HEAD => "head",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// Returns the resource that a path names; empty if it names none.
fn resource(uri: &Uri) -> &'static str {
    if [admission::VALIDATE, admission::MUTATE].contains(&uri.path()) {
        return "pods";
    }
    let has = |name: &str| uri.path().split('/').any(|part| part == name);
    if has("workloads") {
        "workloads"
    } else if has("events") {
        "events"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_kubernetes_verbs_and_resources() {
        for (method, uri, expected) in [
            ("GET", "/apis/kuma.io/v1alpha1/workloads?limit=500", ("list", "workloads")),
            (
                "GET",
                "/apis/kuma.io/v1alpha1/namespaces/default/workloads/?watch=false",
                ("list", "workloads"),
            ),
            ("GET", "/apis/kuma.io/v1alpha1/workloads?watch=true", ("watch", "workloads")),
            ("GET", "/apis/kuma.io/v1alpha1/namespaces/default/workloads/web", ("get", "workloads")),
            ("GET", "/api/v1/events", ("list", "events")),
            ("GET", "/apis", ("get", "")),
            ("DELETE", "/apis/kuma.io/v1alpha1/namespaces/default/workloads/web", ("delete", "workloads")),
            ("POST", "/validate-v1-pod?timeout=5s", ("validate", "pods")),
            ("POST", "/mutate-v1-pod", ("mutate", "pods")),
            ("GET", "/mutate-v1-pod", ("get", "pods")),
            ("BREW", "/coffee", ("other", "")),
        ] {
            let (method, uri) = (method.parse().unwrap(), uri.parse().unwrap());
            assert_eq!((verb(&method, &uri), resource(&uri)), expected, "{method} {uri}");
        }
    }
}
