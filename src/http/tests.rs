//! Requests to the routes, without a connection.

use axum::{
    body::{Body, to_bytes},
    http::header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use tower::Service as _;

use super::*;
use crate::{
    access::tests::{access, assert_documented, user_of},
    audit::AuditLog,
    authentication::{Authenticator, Trust},
    model::{AnonymousAccess, Principal},
    registry::{Registry, RegistrySettings, tests::begin_warming},
    runtime::readiness::Readiness,
    telemetry::metrics::Listener,
};

struct Routes {
    registry: Registry,
    metrics: Metrics,
    router: Router,
}

impl Routes {
    /// Requests without a header with a token are those of this principal.
    fn of(principal: Principal) -> Self {
        let registry = Registry::new(RegistrySettings::default());
        let ready = Readiness::default();
        ready.set(true);
        let metrics = Metrics::new(&registry).unwrap();
        let access = access();
        let authenticator = match principal {
            Principal::Anonymous(anonymous) => Trust::without_credentials(access.clone()).listener(anonymous),
            principal => Authenticator::fixed(&access, user_of(&access, principal)),
        };
        let control =
            AccessControl::new(Listener::Http, authenticator, metrics.refused.clone(), AuditLog::default());
        let router = router(metrics.clone(), ReadyChecks::new(ready, &registry), control);
        Self { registry, metrics, router }
    }

    fn anonymous(anonymous: AnonymousAccess) -> Self {
        Self::of(Principal::Anonymous(anonymous))
    }

    fn user(name: &str) -> Self {
        Self::of(Principal::User(crate::model::User { name: name.into(), groups: vec![] }))
    }

    async fn send(&self, request: http::request::Builder) -> (u16, Option<String>, String) {
        let response = self.router.clone().call(request.body(Body::empty()).unwrap()).await.unwrap();
        let challenge = response.headers().get(WWW_AUTHENTICATE);
        let challenge = challenge.map(|challenge| challenge.to_str().unwrap().to_owned());
        let code = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (code, challenge, String::from_utf8(body.into()).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Option<String>, String) {
        self.send(Request::get(path)).await
    }

    async fn code(&self, path: &str) -> u16 {
        self.get(path).await.0
    }

    fn denied(&self, reason: &str) -> bool {
        let line = format!("headcount_requests_denied_total{{listener=\"http\",reason=\"{reason}\"}} 1");
        self.metrics.encode().unwrap().lines().any(|other| other == line)
    }
}

const HEALTH: [&str; 4] = ["/", "/livez", "/readyz", "/readyz?verbose"];

#[tokio::test]
async fn health_needs_no_credential_and_metrics_need_one() {
    let routes = Routes::anonymous(AnonymousAccess::Public);
    for path in HEALTH {
        assert_eq!(routes.code(path).await, 200, "{path}");
    }
    let (code, challenge, text) = routes.get("/metrics").await;
    assert_eq!((code, challenge.as_deref()), (401, Some("Bearer")));
    assert_eq!(text, "read metrics: authentication is required: send a token or a client certificate\n");
    assert!(routes.denied("unauthenticated"));
    // Unknown paths show which paths exist. Methods are checked after the caller.
    for unknown in ["/metrics/", "/metrics%20", "//metrics", "/%6Detrics", "/nowhere"] {
        assert_eq!(routes.code(unknown).await, 401, "{unknown}");
    }
    assert_eq!(routes.send(Request::post("/metrics")).await.0, 401);
}

#[tokio::test]
async fn metrics_can_be_opened_and_nothing_else() {
    let routes = Routes::anonymous(AnonymousAccess::PublicAndMetrics);
    assert_eq!(routes.code("/metrics").await, 200);
    assert_eq!(routes.code("/nowhere").await, 401);
}

#[tokio::test]
async fn on_loopback_everything_is_open() {
    let routes = Routes::anonymous(AnonymousAccess::Full);
    for path in HEALTH.into_iter().chain(["/metrics"]) {
        assert_eq!(routes.code(path).await, 200, "{path}");
    }
    assert_eq!(routes.code("/nowhere").await, 404);
}

#[tokio::test]
async fn a_user_needs_a_role_for_the_metrics() {
    assert_eq!(Routes::user("viewer").code("/metrics").await, 200);
    for name in ["nobody", "shop viewer"] {
        let routes = Routes::user(name);
        let (code, challenge, text) = routes.get("/metrics").await;
        assert_eq!((code, challenge), (403, None));
        assert_eq!(text, format!("user \"{name}\" has no permission to read metrics\n"));
        assert!(routes.denied("no_permission"));
        assert_eq!(routes.code("/nowhere").await, 404);
    }
}

#[tokio::test]
async fn a_token_that_is_not_valid_is_rejected_except_by_health_checks() {
    let routes = Routes::anonymous(AnonymousAccess::Full);
    let with_token = |path| Request::get(path).header(AUTHORIZATION, "Bearer secret");
    let (code, challenge, text) = routes.send(with_token("/metrics")).await;
    assert_eq!((code, challenge.as_deref()), (401, Some("Bearer error=\"invalid_token\"")));
    assert!(text.starts_with("authorization: ") && !text.contains("secret"), "{text}");
    assert!(routes.denied("bad_credential"));
    for path in HEALTH {
        assert_eq!(routes.send(with_token(path)).await.0, 200, "{path}");
    }
}

/// The number of missing dataplanes is a metric as well.
#[tokio::test(start_paused = true)]
async fn only_who_may_read_metrics_reads_the_details_of_health() {
    let missing =
        "[+]warming ok: the server restarted: 1 dataplane has not reconnected yet (at most 21s more)";
    for (routes, warming) in [
        (Routes::anonymous(AnonymousAccess::Full), missing),
        (Routes::user("viewer"), missing),
        (Routes::anonymous(AnonymousAccess::Public), "[+]warming ok"),
        (Routes::user("nobody"), "[+]warming ok"),
    ] {
        begin_warming(&routes.registry, 1, Duration::from_secs(21));
        for (path, expected) in [
            ("/readyz", "ok\n".to_owned()),
            ("/readyz?verbose", format!("[+]ready ok\n{warming}\nreadyz check passed\n")),
        ] {
            assert_eq!(routes.get(path).await, (200, None, expected));
        }
        assert!(!routes.denied("unauthenticated") && !routes.denied("no_permission"));
    }
}

#[test]
fn every_path_is_documented_with_its_action() {
    assert_documented(&routes().map(|(path, action, _)| (path.to_owned(), action)));
}
