//! kube-apiserver in front of its users.

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
async fn whoever_kube_apiserver_speaks_for_is_answered() {
    let site = Site::start().await;
    let aggregator = site.aggregator();
    let (dev, team) = (("x-remote-group", "dev"), ("x-remote-extra-team", "shop"));
    for path in [WORKLOADS, RESOURCES, "/apis", "/openapi/v2", "/version"] {
        assert_eq!(aggregator.get(path, &[ALICE, dev, MASTERS, team]).await.code, 200, "{path}");
    }
    // As it asks whether we are there: of itself, without a group.
    let itself = ("x-remote-user", "system:kube-aggregator");
    assert_eq!(aggregator.get(RESOURCES, &[itself]).await.code, 200);
    // Its other allowed name.
    let other = site.client(Some(&site.front_proxy.client("aggregator")));
    assert_eq!(other.get(WORKLOADS, &[ALICE]).await.code, 200);
    let written = aggregator.ask(Method::DELETE, ONE, &[ADMIN, MASTERS], "").await;
    written.refuses(405, "MethodNotAllowed", &["are read-only: delete is not supported"]);
}

/// kube-apiserver has a header for each group.
#[tokio::test]
async fn a_user_may_be_in_very_many_groups() {
    let site = Site::start().await;
    let groups: Vec<_> = (0..1_000)
        .map(|n| format!("cn=group-{n},ou=teams,ou=some-long-unit-of-a-directory,dc=example,dc=com"))
        .collect();
    let mut headers = vec![ALICE];
    headers.extend(groups.iter().map(|group| ("x-remote-group", group.as_str())));
    assert_eq!(site.aggregator().get(WORKLOADS, &headers).await.code, 200);
}

/// Its aggregator would take what it is told of the core for the whole of it.
#[tokio::test]
async fn kubernetes_own_core_is_left_to_kube_apiserver() {
    let site = Site::start().await;
    let aggregator = site.aggregator();
    for path in
        ["/api", "/api/v1", "/api/v1/events", "/api/v1/namespaces/default/events", "/openapi/v3/api/v1"]
    {
        let answer = aggregator.get(path, &[ALICE]).await;
        assert_eq!((answer.code, &*answer.body), (404, &b"404 page not found\n"[..]), "{path}");
    }
    let told = async |path| aggregator.get(path, &[ALICE]).await.json();
    let documents = told("/openapi/v3").await;
    let documents: Vec<_> = documents["paths"].as_object().unwrap().keys().collect();
    assert_eq!(documents, ["apis/kuma.io/v1alpha1"]);
    let v2 = told("/openapi/v2").await;
    let definitions: Vec<_> = v2["definitions"].as_object().unwrap().keys().collect();
    assert_eq!(definitions, ["io.kuma.v1alpha1.Workload"]);
    assert!(v2["paths"].as_object().unwrap().keys().all(|path| path.starts_with("/apis/kuma.io/")), "{v2}");
    let root = told("/").await;
    assert!(!root["paths"].as_array().unwrap().contains(&"/api".into()), "{root}");
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let site = Site::start().await;
    let forged = [ADMIN, MASTERS, ("authorization", "Bearer x"), ("x-forwarded-for", "10.0.0.1")];
    let (mine, theirs) = (&site.front_proxy, Authority::new());
    for (own, why) in [
        (None, "no client certificate"),
        (Some(theirs.client("front-proxy-client")), "not one of the authority's"),
        (Some(site.serving.client("front-proxy-client")), "not one of the authority's"),
        (Some(mine.server(&["front-proxy-client"])), "not one of the authority's"),
        (Some(mine.client("alice")), "\"alice\", is not one of those allowed"),
        (Some(mine.client("front-proxy-client ")), "is not one of those allowed"),
        (Some(mine.client("\u{1b}[31m")), "is not one of those allowed"),
    ] {
        let stranger = site.client(own.as_ref());
        for path in [WORKLOADS, RESOURCES, "/apis", "/api", "/", "/version", "/openapi/v3", "/nowhere"] {
            let answer = stranger.get(path, &forged).await;
            answer.refuses(401, "Unauthorized", &[why, "kube-apiserver only", "--kube-client-ca-file"]);
        }
        stranger.ask(Method::POST, WORKLOADS, &forged, "{}").await.refuses(401, "Unauthorized", &[why]);
    }
}

#[tokio::test]
async fn a_certificate_without_a_user_is_not_enough() {
    let site = Site::start().await;
    let aggregator = site.aggregator();
    for headers in [&[][..], &[MASTERS], &[("x-remote-user", "")], &[ALICE, ADMIN]] {
        let answer = aggregator.get(WORKLOADS, headers).await;
        answer.refuses(401, "Unauthorized", &["the header X-Remote-User must name exactly one user"]);
    }
}

/// As kubelet and the webhooks' side of kube-apiserver come: without a certificate,
/// or with one for somebody else.
#[tokio::test]
async fn health_and_webhooks_are_open_to_everybody() {
    let site = Site::start().await;
    for own in [None, Some(Authority::new().client("webhook-caller"))] {
        let anybody = site.client(own.as_ref());
        for path in ["/livez", "/readyz", "/healthz", "/livez/"] {
            assert_eq!(anybody.get(path, &[]).await.code, 200, "{path}");
        }
        for path in [VALIDATE, MUTATE] {
            anybody.review(path, "{}").await.refuses(400, "BadRequest", &["AdmissionReview"]);
        }
        for near in ["/livez/x", "//livez", "/livez%2f", "/validate-v1-pod/x", "/LIVEZ", "/livez//"] {
            anybody.get(near, &[]).await.refuses(401, "Unauthorized", &[]);
        }
    }
}

#[tokio::test]
async fn any_name_will_do_if_none_is_given() {
    let site = Site::with(|kube| {
        let proxy = kube.tls.as_mut().and_then(|tls| tls.front_proxy.as_mut());
        proxy.expect("it is there").allowed_names.clear();
    })
    .await;
    let anyhow = site.client(Some(&site.front_proxy.client("whatever")));
    assert_eq!(anyhow.get(WORKLOADS, &[ALICE]).await.code, 200);
    site.client(None).get(WORKLOADS, &[ALICE]).await.refuses(401, "Unauthorized", &[]);
}

/// Also on a connection that was open before, and in a session that is resumed.
#[tokio::test]
async fn an_authority_that_was_replaced_is_believed_no_longer() {
    let site = Site::start().await;
    let before = site.aggregator();
    let mut line = before.open().await;
    assert_eq!(line.ask(Method::GET, WORKLOADS, &[ALICE], "").await.code, 200);
    let next = Authority::new();
    let after = site.client(Some(&next.client("front-proxy-client")));
    assert_eq!(after.get(WORKLOADS, &[ALICE]).await.code, 401);
    site.files.write("ca.crt", &next.pem);
    soon("the new authority", async { while after.get(WORKLOADS, &[ALICE]).await.code != 200 {} }).await;
    assert_eq!(line.ask(Method::GET, WORKLOADS, &[ALICE], "").await.code, 401);
    assert_eq!(before.get(WORKLOADS, &[ALICE]).await.code, 401);
}

/// A certificate is no secret; its key is.
#[tokio::test]
async fn who_shows_a_certificate_must_have_its_key() {
    let site = Site::start().await;
    let mut pair = site.front_proxy.client("front-proxy-client");
    for versions in [&[&TLS12], &[&TLS13]] {
        let client = Client::of_versions(versions, site.addr(), &site.serving, Some(&pair));
        assert_eq!(client.get(WORKLOADS, &[ALICE]).await.code, 200);
    }
    pair.key = site.front_proxy.client("front-proxy-client").key;
    for versions in [&[&TLS12], &[&TLS13]] {
        let client = Client::of_versions(versions, site.addr(), &site.serving, Some(&pair));
        // By 1.3, a client has said all that it has to say before it is refused.
        let Ok(mut io) = client.connect().await else { continue };
        let request = format!("GET /livez HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        let mut heard = Vec::new();
        let _cut = io.write_all(request.as_bytes()).await;
        let _cut = soon("its end", io.read_to_end(&mut heard)).await;
        assert!(heard.is_empty(), "{}", String::from_utf8_lossy(&heard));
    }
}
