//! Requests to the routes of a server that is warming, without a connection.

mod access;

use axum::{
    body::Body,
    http::{
        Request,
        header::{HOST, WARNING},
    },
    response::Response,
};
use http_body_util::BodyExt as _;
use tower::Service as _;

use super::*;
use crate::{
    access::tests::access,
    audit::AuditLog,
    authentication::Trust,
    model::AnonymousAccess,
    registry::{
        RegistrySettings,
        tests::{begin_warming, connect, dataplane, reconnected},
    },
    runtime::readiness::Readiness,
    telemetry::metrics::Listener,
};

const WORKLOADS: &str = "/apis/kuma.io/v1alpha1/workloads";
const TEXT: &str = "the server restarted: 12 dataplanes have not reconnected yet (at most 21s more)";

struct Routes {
    registry: Registry,
    router: Router,
}

impl Routes {
    fn new() -> Self {
        let registry = Registry::new(RegistrySettings::default());
        let ready = Readiness::default();
        ready.set(true);
        let metrics = Metrics::new(&registry).unwrap();
        let checks = ReadyChecks::new(ready, &registry);
        let settings = KubeSettings::default();
        let authenticator = Trust::without_credentials(access()).listener(AnonymousAccess::Full);
        let control =
            AccessControl::new(Listener::Kube, authenticator, metrics.refused.clone(), AuditLog::default());
        let kube =
            Kube::new(&registry, &settings, &metrics, checks, control, CancellationToken::new()).unwrap();
        Self { registry, router: kube.router }
    }

    async fn get(&self, path: &str) -> Response {
        let request = Request::get(path).header(HOST, "localhost").body(Body::empty()).unwrap();
        self.router.clone().call(request).await.unwrap()
    }

    /// The warnings of a successful response.
    async fn warnings(&self, path: &str) -> Vec<String> {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        let warnings = response.headers().get_all(WARNING).iter();
        warnings.map(|warning| warning.to_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn responses_with_current_workloads_warn_while_the_server_is_warming() {
    let routes = Routes::new();
    let _sessions =
        ["web", "api"].map(|name| connect(&routes.registry, dataplane(name, name)).unwrap().session);
    let one = &*format!("{}/web", WORKLOADS.replace("/workloads", "/namespaces/default/workloads"));
    let first_page = &*format!("{WORKLOADS}?limit=1");
    let streamed = &*format!("{WORKLOADS}?watch=true");
    for path in [one, WORKLOADS, first_page, streamed] {
        assert!(routes.warnings(path).await.is_empty(), "{path}");
    }

    begin_warming(&routes.registry, 12, Duration::from_secs(21));
    for path in [one, WORKLOADS, first_page, streamed] {
        assert_eq!(routes.warnings(path).await, [format!("299 - \"{TEXT}\"")], "{path}");
    }
    // kubectl would print another one for each page, and for the watch after a list.
    let list = routes.get(first_page).await.into_body().collect().await.unwrap().to_bytes();
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    let (version, token) = (&list["metadata"]["resourceVersion"], &list["metadata"]["continue"]);
    let next_page = format!("{WORKLOADS}?limit=1&continue={}", token.as_str().unwrap());
    let watch = format!("{WORKLOADS}?watch=true&resourceVersion={}", version.as_str().unwrap());
    for path in [&*next_page, &*watch, "/api/v1/events"] {
        assert!(routes.warnings(path).await.is_empty(), "{path}");
    }

    (0..12).for_each(|_| reconnected(&routes.registry));
    for path in [one, WORKLOADS, first_page, streamed] {
        assert!(routes.warnings(path).await.is_empty(), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_warming_is_ready() {
    let routes = Routes::new();
    begin_warming(&routes.registry, 12, Duration::from_secs(21));
    for (path, expected) in [
        ("/readyz", "ok".to_owned()),
        ("/readyz?verbose", format!("[+]ready ok\n[+]warming ok: {TEXT}\nreadyz check passed\n")),
    ] {
        let response = routes.get(path).await;
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected, "{path}");
    }
}
