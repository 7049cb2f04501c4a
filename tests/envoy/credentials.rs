//! Envoys with TLS and tokens.

use std::time::Instant;

use crate::{
    application::Application,
    bootstrap,
    envoy::{self, Envoy},
    fixture::{Fixture, IMMEDIATE, scrape},
    secured::Secured,
    support::{Program, get, headcount, retry},
};

/// Starts an Envoy that has the token in the file `NAME.token`.
async fn start(secured: &Secured, application: &Application, name: &str) -> Envoy {
    let (server, admin) = (&secured.server, secured.server.site.free_port());
    let (ca, token) = (secured.path("ca.crt"), secured.path(&format!("{name}.token")));
    let url = format!("https://{} --ca-file {ca} --token-file {token}", server.grpc);
    let dataplane = Fixture::dataplane(name, application);
    let bootstrap = bootstrap::print(&server.site, name, &dataplane, &url, admin).await;
    Envoy::start(&envoy::find().unwrap(), bootstrap, admin)
}

/// Waits until the server has refused a request on its gRPC address for this reason.
async fn wait_for_denied(secured: &Secured, reason: &str) {
    let series = format!("headcount_requests_denied_total{{listener=\"grpc\",reason=\"{reason}\"}} ");
    retry(&series, async || {
        let (_, metrics) = get(secured.server.http, "/metrics").await?;
        let denied = metrics.lines().find_map(|line| line.strip_prefix(&series))?;
        (denied != "0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_an_envoy_with_a_valid_token_is_counted_until_the_token_is_revoked() {
    if envoy::find().is_none() {
        return;
    }
    let secured = Secured::start(&["grpc"], "").await;
    let server = &secured.server;
    let token = secured.write_token("web-1.token", "dataplane-token", "--mesh default --name web-1").await;
    secured.write_token("web-2.token", "dataplane-token", "--mesh default --name web-1").await;
    let forged = std::fs::read_to_string(&token).unwrap();
    server.site.file("web-3.token", &format!("{}AAAA", &forged[..forged.len() - 4]));
    let application = Application::start(&server.site).await;
    let start = |name| start(&secured, &application, name);
    let _envoys = tokio::join!(start("web-1"), start("web-2"), start("web-3"));

    let wait_for_counts = async |counts: [&str; 3]| {
        retry(&format!("{counts:?}"), async || (scrape(server.http).await == counts).then_some(())).await;
    };
    wait_for_counts(["1", "1", "1"]).await;
    wait_for_denied(&secured, "mismatch").await;
    wait_for_denied(&secured, "bad_credential").await;
    let mismatch = "proxy name from requestor: web-2 is different than in token: web-1";
    server.program.wait_for_stderr(mismatch).await;
    server.program.wait_for_stderr("token signature is invalid").await;
    let events = get(server.kube, "/api/v1/events").await.unwrap().1;
    assert!(events.contains(mismatch) && events.contains("DataplaneRefused"), "{events}");
    assert_eq!(scrape(server.http).await, ["1", "1", "1"]);

    secured.write_certificate("admin");
    let [ca, cert, key] = ["ca.crt", "admin.crt", "admin.key"].map(|name| secured.path(name));
    let revoke = format!(
        "revoke token --file {} --server https://{} --ca-file {ca} --client-cert-file {cert} --client-key-file {key}",
        token.display(),
        server.grpc
    );
    Program::start(&mut headcount(&revoke)).end().await.expect_exit(0);
    let revoked_at = Instant::now();
    wait_for_counts(["0", "0", "1"]).await;
    let after = revoked_at.elapsed();
    assert!(after < IMMEDIATE, "{after:?}");
    server.program.wait_for_stderr("token is revoked").await;
    wait_for_counts(["0", "0", "1"]).await;
}
