//! grpcurl watches a Workload while the application behind an agent stops and starts again.

use crate::support::{Application, Grpcurl, Program, Server, service};

use serde_json::json;

/// The numbers of healthy proxies that a watch has printed, without repetitions.
fn healthy(out: &str) -> Vec<u64> {
    let mut seen: Vec<_> = Grpcurl::messages(out)
        .flat_map(|message| message["upserted"].as_array().cloned().unwrap_or_default())
        .map(|workload| workload["status"]["dataplaneProxies"]["healthy"].as_u64().unwrap())
        .collect();
    seen.dedup();
    seen
}

async fn wait_for(watch: &Program, wanted: &[u64]) {
    watch
        .wait_for_stdout(&format!("healthy: {wanted:?}"), |out| (healthy(out) == wanted).then_some(()))
        .await;
}

/// Starts a server, an application, its agent, and a grpcurl watch that has printed the healthy proxy.
async fn start_watch(probe: &str) -> Option<(Server, Application, Program, Program)> {
    let grpcurl = Grpcurl::find()?;
    let server = Server::start("").await;
    let application = Application::start(server.site.any_port());
    let agent = server.agent("demo-1", &service("demo-1", application.address(), probe));
    server.wait_for_counts("demo-workload", [1, 1, 1]).await;
    let filter = json!({ "filter": { "name": "demo-workload" } });
    let watch = grpcurl(&server).call("WorkloadService/WatchWorkloads", &filter);
    wait_for(&watch, &[1]).await;
    Some((server, application, agent, watch))
}

#[tokio::test]
async fn a_watch_shows_an_application_stop_and_start_with_a_tcp_probe() {
    let Some((_server, application, _agent, watch)) = start_watch("tcp: {}").await else { return };
    let address = application.address();
    drop(application);
    wait_for(&watch, &[1, 0]).await;
    let _application = Application::start(address);
    wait_for(&watch, &[1, 0, 1]).await;
}

#[tokio::test]
async fn a_watch_shows_an_application_fail_stop_and_start_with_an_http_probe() {
    let Some((_server, application, _agent, watch)) = start_watch("http: { path: /healthz }").await else {
        return;
    };
    let address = application.address();
    application.answer_with(503);
    wait_for(&watch, &[1, 0]).await;
    application.answer_with(204);
    wait_for(&watch, &[1, 0, 1]).await;
    drop(application);
    wait_for(&watch, &[1, 0, 1, 0]).await;
    let _application = Application::start(address);
    wait_for(&watch, &[1, 0, 1, 0, 1]).await;
}

#[tokio::test]
async fn the_first_message_is_a_snapshot() {
    let Some((_server, _application, _agent, watch)) = start_watch("tcp: {}").await else { return };
    let first = watch.wait_for_stdout("a message", |out| Grpcurl::messages(out).next()).await;
    assert_eq!((&first["reset"], &first["synced"]), (&json!(true), &json!(true)), "{first}");
    assert_ne!(first["resumeToken"], json!(""), "{first}");
}
