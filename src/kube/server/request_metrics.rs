//! Requests, counted.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{Method, Uri},
    middleware::Next,
    response::Response,
};

use crate::kube::{Desk, admission, protocol::options::Query};

/// Counts a request when it is answered.
pub(crate) async fn observe(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let (verb, resource) = (verb(request.method(), request.uri()), resource(request.uri()));
    let response = next.run(request).await;
    desk.requests.answered(verb, resource, response.status().as_u16());
    response
}

/// In Kubernetes' words. Whatever else a stranger says is one word.
fn verb(method: &Method, uri: &Uri) -> &'static str {
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

/// What a path is about; empty if it is about no resource.
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
    fn requests_are_told_apart_in_kubernetes_words() {
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
