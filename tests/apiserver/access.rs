//! Which clients are accepted if kube-apiserver is the front proxy.

use http::Method;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    pki::Authority,
    support::{Client, MUTATE, NAME, RESOURCES, Site, VALIDATE, WORKLOADS, soon},
};

const ALICE: (&str, &str) = ("x-remote-user", "alice");
const MASTERS: (&str, &str) = ("x-remote-group", "system:masters");
const ADMIN: (&str, &str) = ("x-remote-user", "admin");

const ONE: &str = "/apis/kuma.io/v1alpha1/namespaces/default/workloads/x";

#[tokio::test]
async fn requests_of_the_front_proxy_are_accepted() {
    let site = Site::start().await;
    let aggregator = site.aggregator();
    let (dev, team) = (("x-remote-group", "dev"), ("x-remote-extra-team", "shop"));
    for path in [WORKLOADS, RESOURCES, "/apis", "/openapi/v2", "/version"] {
        assert_eq!(aggregator.get(path, &[ALICE, dev, MASTERS, team]).await.code, 200, "{path}");
    }
    // kube-apiserver's own availability check names no group.
    let itself = ("x-remote-user", "system:kube-aggregator");
    assert_eq!(aggregator.get(RESOURCES, &[itself]).await.code, 200);
    // The other allowed name.
    let other = site.client(Some(&site.front_proxy.client("aggregator")));
    assert_eq!(other.get(WORKLOADS, &[ALICE]).await.code, 200);
    let rejected = aggregator.request(Method::DELETE, ONE, &[ADMIN, MASTERS], "").await;
    rejected.assert_status(405, "MethodNotAllowed", &["are read-only: delete is not supported"]);
}

/// kube-apiserver sends a header for each group.
#[tokio::test]
async fn a_user_may_be_in_a_thousand_groups() {
    let site = Site::start().await;
    let groups: Vec<_> = (0..1_000)
        .map(|n| format!("cn=group-{n},ou=teams,ou=some-long-unit-of-a-directory,dc=example,dc=com"))
        .collect();
    let mut headers = vec![ALICE];
    headers.extend(groups.iter().map(|group| ("x-remote-group", group.as_str())));
    assert_eq!(site.aggregator().get(WORKLOADS, &headers).await.code, 200);
}

/// Its aggregation layer would take the part of the core group that headcount serves for all of it.
#[tokio::test]
async fn the_core_group_is_not_served_behind_kube_apiserver() {
    let site = Site::start().await;
    let aggregator = site.aggregator();
    for path in
        ["/api", "/api/v1", "/api/v1/events", "/api/v1/namespaces/default/events", "/openapi/v3/api/v1"]
    {
        let response = aggregator.get(path, &[ALICE]).await;
        assert_eq!((response.code, &*response.body), (404, &b"404 page not found\n"[..]), "{path}");
    }
    let get = async |path| aggregator.get(path, &[ALICE]).await.json();
    let documents = get("/openapi/v3").await;
    let documents: Vec<_> = documents["paths"].as_object().unwrap().keys().collect();
    assert_eq!(documents, ["apis/kuma.io/v1alpha1"]);
    let v2 = get("/openapi/v2").await;
    let definitions: Vec<_> = v2["definitions"].as_object().unwrap().keys().collect();
    assert_eq!(definitions, ["io.kuma.v1alpha1.Workload"]);
    assert!(v2["paths"].as_object().unwrap().keys().all(|path| path.starts_with("/apis/kuma.io/")), "{v2}");
    let root = get("/").await;
    assert!(!root["paths"].as_array().unwrap().contains(&"/api".into()), "{root}");
}

#[tokio::test]
async fn other_clients_are_rejected_whatever_headers_they_send() {
    let site = Site::start().await;
    let forged = [ADMIN, MASTERS, ("x-forwarded-for", "10.0.0.1")];
    let token = [ADMIN, MASTERS, ("authorization", "Bearer x")];
    let (trusted, other) = (&site.front_proxy, Authority::new());
    for (certificate, reason) in [
        (None, "no client certificate"),
        (Some(other.client("front-proxy-client")), "not one of the authority's"),
        (Some(site.serving.client("front-proxy-client")), "not one of the authority's"),
        (Some(trusted.server(&["front-proxy-client"])), "not one of the authority's"),
        (Some(trusted.client("alice")), "\"alice\", is not one of those allowed"),
        (Some(trusted.client("front-proxy-client ")), "is not one of those allowed"),
        (Some(trusted.client("\u{1b}[31m")), "is not one of those allowed"),
    ] {
        let client = site.client(certificate.as_ref());
        for path in [WORKLOADS, RESOURCES, "/apis", "/api", "/", "/version", "/openapi/v3", "/nowhere"] {
            let response = client.get(path, &forged).await;
            response.assert_status(401, "Unauthorized", &[reason, "kube-apiserver", "--kube-client-ca-file"]);
            let response = client.get(path, &token).await;
            response.assert_status(
                401,
                "Unauthorized",
                &["authorization: ", reason, "--kube-client-ca-file"],
            );
        }
        client.request(Method::POST, WORKLOADS, &forged, "{}").await.assert_status(
            401,
            "Unauthorized",
            &[reason],
        );
    }
}

#[tokio::test]
async fn the_front_proxy_must_name_exactly_one_user() {
    let site = Site::start().await;
    let aggregator = site.aggregator();
    for headers in [&[][..], &[MASTERS], &[("x-remote-user", "")], &[ALICE, ADMIN]] {
        let response = aggregator.get(WORKLOADS, headers).await;
        response.assert_status(401, "Unauthorized", &["the header X-Remote-User must name exactly one user"]);
    }
}

/// The kubelet has no certificate of the front proxy, and kube-apiserver presents none, or another
/// one, when it calls webhooks.
#[tokio::test]
async fn health_checks_and_webhooks_need_no_certificate() {
    let site = Site::start().await;
    for certificate in [None, Some(Authority::new().client("webhook-caller"))] {
        let client = site.client(certificate.as_ref());
        for path in ["/livez", "/readyz", "/healthz", "/livez/", "/livez%2f"] {
            assert_eq!(client.get(path, &[]).await.code, 200, "{path}");
        }
        for path in [VALIDATE, MUTATE] {
            client.review(path, "{}").await.assert_status(400, "BadRequest", &["AdmissionReview"]);
        }
        for similar in ["/livez/x", "//livez", "/validate-v1-pod/x", "/LIVEZ", "/livez//"] {
            client.get(similar, &[]).await.assert_status(401, "Unauthorized", &[]);
        }
    }
}

#[tokio::test]
async fn any_common_name_is_allowed_if_none_is_configured() {
    let site = Site::with(|kube| {
        let proxy = kube.tls.as_mut().and_then(|tls| tls.front_proxy.as_mut());
        proxy.expect("a front proxy").allowed_names.clear();
    })
    .await;
    let client = site.client(Some(&site.front_proxy.client("any-name")));
    assert_eq!(client.get(WORKLOADS, &[ALICE]).await.code, 200);
    site.client(None).get(WORKLOADS, &[ALICE]).await.assert_status(401, "Unauthorized", &[]);
}

/// Also on open connections and in resumed TLS sessions.
#[tokio::test]
async fn a_replaced_authority_is_no_longer_trusted() {
    let site = Site::start().await;
    let before = site.aggregator();
    let mut connection = before.open().await;
    assert_eq!(connection.request(Method::GET, WORKLOADS, &[ALICE], "").await.code, 200);
    let next = Authority::new();
    let after = site.client(Some(&next.client("front-proxy-client")));
    assert_eq!(after.get(WORKLOADS, &[ALICE]).await.code, 401);
    site.files.write("ca.crt", &next.pem);
    soon("the new authority", async { while after.get(WORKLOADS, &[ALICE]).await.code != 200 {} }).await;
    assert_eq!(connection.request(Method::GET, WORKLOADS, &[ALICE], "").await.code, 401);
    assert_eq!(before.get(WORKLOADS, &[ALICE]).await.code, 401);
}

#[tokio::test]
async fn a_client_must_have_the_key_of_its_certificate() {
    let site = Site::start().await;
    let mut pair = site.front_proxy.client("front-proxy-client");
    for versions in [&[&TLS12], &[&TLS13]] {
        let client = Client::of_versions(versions, site.addr(), &site.serving, Some(&pair));
        assert_eq!(client.get(WORKLOADS, &[ALICE]).await.code, 200);
    }
    pair.key = site.front_proxy.client("front-proxy-client").key;
    for versions in [&[&TLS12], &[&TLS13]] {
        let client = Client::of_versions(versions, site.addr(), &site.serving, Some(&pair));
        // With TLS 1.3 the handshake of a client ends before the server rejects its certificate.
        let Ok(mut io) = client.connect().await else { continue };
        let request = format!("GET /livez HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        let mut response = Vec::new();
        let _cut = io.write_all(request.as_bytes()).await;
        let _cut = soon("the end of the connection", io.read_to_end(&mut response)).await;
        assert!(response.is_empty(), "{}", String::from_utf8_lossy(&response));
    }
}
