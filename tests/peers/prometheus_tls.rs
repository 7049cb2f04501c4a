//! A real Prometheus scrapes over TLS, with a token or a client certificate.

use crate::{
    prometheus::Prometheus,
    secured::Secured,
    support::{get, peer, retry},
};

#[tokio::test]
async fn prometheus_scrapes_with_the_token_or_the_certificate_of_a_viewer() {
    let Some(program) = peer("prometheus") else { return };
    let secured = Secured::start(&["http"], "").await;
    secured.write_token("ops.token", "user-token", "--name prometheus --group ops").await;
    secured.write_token("other.token", "user-token", "--name prometheus --group dev").await;
    secured.write_certificate("admin");
    let path = |name: &str| secured.path(name);
    let (ca, http) = (path("ca.crt"), secured.server.http);
    let token = |name| format!("authorization: {{credentials_file: {}}}", path(name));
    let certificate = format!(", cert_file: {}, key_file: {}", path("admin.crt"), path("admin.key"));
    let jobs = [
        ("token", "", token("ops.token")),
        ("certificate", &certificate, String::new()),
        ("none", "", String::new()),
        ("other", "", token("other.token")),
    ];
    let jobs = jobs.map(|(job, tls, authorization)| {
        format!(
            "- job_name: {job}\n  scheme: https\n  tls_config: {{ca_file: {ca}{tls}}}\n  {authorization}\n  \
             static_configs: [{{targets: [\"{http}\"]}}]\n"
        )
    });
    let config = format!("global: {{scrape_interval: 200ms}}\nscrape_configs:\n{}", jobs.concat());
    let prometheus = Prometheus::start_with(program, &secured.server.site, &config).await;

    let up = |token| {
        [(["certificate", ""], "1"), (["none", ""], "0"), (["other", ""], "0"), (["token", ""], token)]
    };
    let labels = ["job", ""];
    prometheus.wait_for("up", labels, &up("1")).await;
    let scraped = [(["certificate", ""], "0"), (["token", ""], "0")];
    prometheus.wait_for("headcount_watchers", labels, &scraped).await;
    for status in ["401 Unauthorized", "403 Forbidden"] {
        retry(status, async || {
            let (_, targets) = get(prometheus.address, "/api/v1/targets").await?;
            targets.contains(&format!("server returned HTTP status {status}")).then_some(())
        })
        .await;
    }

    // Prometheus reads the file for each scrape.
    std::fs::copy(path("other.token"), path("ops.token")).unwrap();
    prometheus.wait_for("up", labels, &up("0")).await;
}
