//! The access to each path, on a listener that other machines can reach.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::{Body, BodyDataStream},
    http::{Method, Request, header::HOST},
};
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::Service as _;

use super::super::{
    middleware::PUBLIC_PATHS,
    routes::{RoutePath, paths},
    *,
};
use crate::{
    access::{
        Action, Credential, CredentialId, Policy,
        tests::{access, assert_documented, clock, user_of},
    },
    audit::AuditLog,
    authentication::{Authenticator, Trust},
    kube::admission,
    model::{AnonymousAccess, Principal, User},
    registry::RegistrySettings,
    runtime::readiness::Readiness,
    telemetry::metrics::Listener,
};

const WORKLOADS: &str = "/apis/kuma.io/v1alpha1/workloads";
const IN_SHOP: &str = "/apis/kuma.io/v1alpha1/namespaces/shop/workloads";
const IN_BANK: &str = "/apis/kuma.io/v1alpha1/namespaces/bank/workloads";

struct Routes {
    access: Access,
    metrics: Metrics,
    router: Router,
}

impl Routes {
    fn new(authenticate: impl FnOnce(&Access) -> Authenticator) -> Self {
        let registry = Registry::new(RegistrySettings::default());
        let (metrics, access) = (Metrics::new(&registry).unwrap(), access());
        let settings =
            KubeSettings { addr: Some(SocketAddr::from(([0; 4], 7102))), ..KubeSettings::default() };
        let control = AccessControl::new(
            Listener::Kube,
            authenticate(&access),
            metrics.refused.clone(),
            AuditLog::default(),
        );
        let checks = ReadyChecks::new(Readiness::default(), &registry);
        let kube = Kube::new(&registry, &settings, &metrics, checks, control, CancellationToken::new());
        Self { access, metrics, router: kube.unwrap().router }
    }

    fn anonymous() -> Self {
        Self::new(|access| Trust::without_credentials(access.clone()).listener(AnonymousAccess::Public))
    }

    fn user(name: &str) -> Self {
        let user = User { name: name.into(), groups: vec![] };
        Self::new(|access| Authenticator::fixed(access, user_of(access, Principal::User(user))))
    }

    async fn send(&self, method: Method, path: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header(HOST, "headcount.example");
        let response = self.router.clone().call(request.body(Body::empty()).unwrap()).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path).await
    }

    /// The lines of a watch.
    async fn watch(&self, path: &str) -> BodyDataStream {
        let request = Request::get(path).header(HOST, "x").body(Body::empty()).unwrap();
        let response = self.router.clone().call(request).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.into_body().into_data_stream()
    }

    fn denied(&self, reason: &str) -> bool {
        let line = format!("headcount_requests_denied_total{{listener=\"kube\",reason=\"{reason}\"}} 1");
        self.metrics.encode().unwrap().lines().any(|other| other == line)
    }
}

/// Each path of the server, and what a request for it does.
fn all_paths() -> Vec<RoutePath> {
    let (registry, settings) = (Registry::new(RegistrySettings::default()), KubeSettings::default());
    let (workloads, events) = (Arc::new(workloads::kind(&settings.group)), Arc::new(events::kind()));
    let (metrics, shutdown) = (Metrics::new(&registry).unwrap(), CancellationToken::new());
    let state = Arc::new(ApiState::new(&registry, workloads, events, 8, &metrics, shutdown));
    paths(&state, ReadyChecks::new(Readiness::default(), &registry))
}

/// The same, with names for the parameters.
fn examples() -> Vec<RoutePath> {
    let fill = |path: String| path.replace("{namespace}", "shop").replace("{name}", "web");
    all_paths().into_iter().map(|(path, action)| (fill(path), action)).collect()
}

#[test]
fn every_path_is_documented_with_its_action() {
    assert_documented(&all_paths());
}

#[tokio::test]
async fn an_anonymous_client_reaches_health_checks_and_webhooks_only() {
    let routes = Routes::anonymous();
    let paths = examples();
    assert!(paths.len() > 15, "{paths:?}");
    for (path, action) in paths {
        let (code, status) = routes.get(&path).await;
        let public = action == Action::CheckHealth;
        assert_eq!(public, PUBLIC_PATHS.contains(&path.as_str()), "{path}");
        assert_eq!(code == 401, !public, "{path}: {code}");
        if !public {
            assert_eq!((&status["kind"], &status["reason"]), (&json!("Status"), &json!("Unauthorized")));
            let text = format!(
                "{}: authentication is required: send a token or a client certificate",
                action.as_str()
            );
            assert_eq!(status["message"], text);
        }
    }
    for unknown in ["/nowhere", "/livez/x", "/apis/kuma.io/v1alpha1/dataplanes", "//livez"] {
        assert_eq!(routes.get(unknown).await.0, 401, "{unknown}");
    }
    for path in [admission::VALIDATE, admission::MUTATE] {
        assert_eq!(routes.send(Method::POST, path).await.0, 415, "{path}: it is read");
    }
    assert_eq!(routes.send(Method::DELETE, WORKLOADS).await.0, 401);
}

/// The body of a request is not read before its sender is known.
#[tokio::test]
async fn nothing_of_an_anonymous_client_is_read() {
    let routes = Routes::anonymous();
    for path in [WORKLOADS, "/apis", "/nowhere"] {
        let body = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        let request = Request::post(path).header(HOST, "x").body(body).unwrap();
        let response = routes.router.clone().call(request).await.unwrap();
        assert_eq!(response.status(), 401, "{path}");
    }
}

#[tokio::test]
async fn a_user_without_a_role_reads_the_schema_only() {
    let routes = Routes::user("nobody");
    for (path, action) in examples() {
        let (code, _) = routes.get(&path).await;
        assert_eq!(code == 403, matches!(action, Action::ReadWorkloads | Action::ReadEvents), "{path}");
    }
    assert_eq!(routes.get("/nowhere").await.0, 404);
    assert_eq!(routes.send(Method::DELETE, &format!("{IN_SHOP}/web")).await.0, 403);
}

#[tokio::test]
async fn a_role_for_a_namespace_is_a_role_for_its_paths() {
    let routes = Routes::user("shop viewer");
    for path in [IN_SHOP, "/api/v1/namespaces/shop/events"] {
        assert_eq!(routes.get(path).await.0, 200, "{path}");
        let _lines = routes.watch(&format!("{path}?watch=true")).await;
    }
    assert_eq!(routes.get(&format!("{IN_SHOP}/web")).await.0, 404);
    let workloads = r#"resource "workloads" in API group "kuma.io""#;
    let cases = [
        (IN_BANK, format!(r#"list {workloads} in the namespace "bank""#), ""),
        (WORKLOADS, format!("list {workloads} at the cluster scope"), ""),
        (&format!("{WORKLOADS}?watch=1"), format!("watch {workloads} at the cluster scope"), ""),
        (&format!("{IN_BANK}/web"), format!(r#"get {workloads} in the namespace "bank""#), r#" "web""#),
        // Encoded, as kube-apiserver decodes it.
        (&IN_BANK.replace("bank", "%62ank"), format!(r#"list {workloads} in the namespace "bank""#), ""),
        (&IN_SHOP.replace("shop", "SHOP"), format!(r#"list {workloads} in the namespace "SHOP""#), ""),
    ];
    for (path, what, name) in cases {
        let (code, status) = routes.get(path).await;
        assert_eq!((code, &status["reason"]), (403, &json!("Forbidden")), "{path}");
        let text = format!(
            r#"workloads.kuma.io{name} is forbidden: user "shop viewer" cannot {what} (no role includes it)"#
        );
        assert_eq!(status["message"], text);
        assert_eq!(
            (&status["details"]["group"], &status["details"]["kind"]),
            (&json!("kuma.io"), &json!("workloads"))
        );
    }
    let (_, status) = routes.get("/api/v1/events").await;
    let text = r#"events is forbidden: user "shop viewer" cannot list resource "events" in API group "" at the cluster scope (no role includes it)"#;
    assert_eq!(status["message"], text);
}

/// Runs the task that ends live calls while `test` runs.
async fn with_task(access: &Access, test: impl Future<Output = ()>) {
    tokio::select! {
        () = access.run() => unreachable!("it never ends"),
        () = test => {}
    }
}

/// The error of the last event of a watch.
async fn last_error(mut lines: BodyDataStream) -> Value {
    let mut last = None;
    while let Some(line) = lines.next().await {
        last = Some(line.unwrap());
    }
    let event: Value = serde_json::from_slice(&last.expect("an event")).unwrap();
    assert_eq!(event["type"], "ERROR");
    event["object"].clone()
}

/// Of 1,024 connections watches may use 896, and one user half of these.
#[tokio::test]
async fn the_watches_of_one_user_leave_connections_to_others() {
    let routes = Routes::user("viewer");
    let mut watches = Vec::new();
    for _ in 0..448 {
        watches.push(routes.watch(&format!("{WORKLOADS}?watch=true")).await);
    }
    let (code, status) = routes.get("/api/v1/events?watch=true").await;
    assert_eq!((code, &status["reason"]), (429, &json!("TooManyRequests")));
    let text = "user \"viewer\" may have 448 watches of the Kubernetes API, the most this server allows one client \
                (max-client-share of max-kube-connections)";
    assert_eq!(status["message"], text);
    let shed = r#"headcount_shed_total{limit="max-client-share"} 1"#;
    assert!(routes.metrics.encode().unwrap().lines().any(|line| line == shed));
    watches.pop();
    let _room = routes.watch("/api/v1/events?watch=true").await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_403_when_its_user_loses_the_role() {
    let routes = Routes::user("shop viewer");
    for path in [IN_SHOP, "/api/v1/namespaces/shop/events"] {
        let lines = routes.watch(&format!("{path}?watch=true")).await;
        let other = routes.watch(&format!("{path}?watch=true")).await;
        drop(other);
        with_task(&routes.access, async {
            routes.access.set_policy(Policy::default());
            let status = last_error(lines).await;
            assert_eq!((&status["code"], &status["reason"]), (&json!(403), &json!("Forbidden")), "{status}");
            routes.access.set_policy(crate::access::tests::policy());
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_401_when_its_credential_expires() {
    let began = clock();
    let routes = Routes::new(|access| {
        let user = User { name: "viewer".into(), groups: vec![] };
        let expires = Some(began + Duration::from_secs(10));
        let credential =
            Credential { id: CredentialId::FrontProxy("test".into()), expires, recheck: Arc::new(|| Ok(())) };
        Authenticator::fixed(access, access.caller(Principal::User(user), credential))
    });
    let lines = routes.watch(&format!("{WORKLOADS}?watch=true&timeoutSeconds=60")).await;
    with_task(&routes.access, async {
        let status = last_error(lines).await;
        assert_eq!((&status["code"], &status["reason"]), (&json!(401), &json!("Unauthorized")), "{status}");
        assert_eq!(status["message"], "the credential has expired: reconnect with a new one");
        let late = clock().duration_since(began + Duration::from_secs(10)).unwrap();
        assert!(late < Duration::from_secs(1), "{late:?}");
    })
    .await;
    assert!(routes.denied("expired"));
}
