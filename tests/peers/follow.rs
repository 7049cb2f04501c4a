//! grpcurl follows a Workload while the application behind an agent dies and
//! comes back.

use crate::support::{Application, Grpcurl, Program, Server, service};

use serde_json::json;

/// The numbers of healthy proxies that a watch has shown, each once.
fn healthy(out: &str) -> Vec<u64> {
    let mut seen: Vec<_> = Grpcurl::messages(out)
        .flat_map(|message| message["upserted"].as_array().cloned().unwrap_or_default())
        .map(|workload| workload["status"]["dataplaneProxies"]["healthy"].as_u64().unwrap())
        .collect();
    seen.dedup();
    seen
}

async fn until(watch: &Program, wanted: &[u64]) {
    watch
        .wait_for_stdout(&format!("healthy: {wanted:?}"), |out| (healthy(out) == wanted).then_some(()))
        .await;
}

/// A server, an application and its agent, and grpcurl, which has seen it
/// healthy.
async fn followed(probe: &str) -> Option<(Server, Application, Program, Program)> {
    let grpcurl = Grpcurl::find()?;
    let server = Server::start("").await;
    let application = Application::start(server.site.any_port());
    let agent = server.agent("demo-1", &service("demo-1", application.address(), probe));
    server.wait_for_counts("demo-workload", [1, 1, 1]).await;
    let filter = json!({ "filter": { "name": "demo-workload" } });
    let watch = grpcurl(&server).call("WorkloadService/WatchWorkloads", &filter);
    until(&watch, &[1]).await;
    Some((server, application, agent, watch))
}

#[tokio::test]
async fn grpcurl_sees_an_application_die_and_come_back_by_tcp() {
    let Some((_server, application, _agent, watch)) = followed("tcp: {}").await else { return };
    let address = application.address();
    drop(application);
    until(&watch, &[1, 0]).await;
    let _application = Application::start(address);
    until(&watch, &[1, 0, 1]).await;
}

#[tokio::test]
async fn grpcurl_sees_an_application_fail_die_and_come_back_by_http() {
    let Some((_server, application, _agent, watch)) = followed("http: { path: /healthz }").await else {
        return;
    };
    let address = application.address();
    application.answer_with(503);
    until(&watch, &[1, 0]).await;
    application.answer_with(204);
    until(&watch, &[1, 0, 1]).await;
    drop(application);
    until(&watch, &[1, 0, 1, 0]).await;
    let _application = Application::start(address);
    until(&watch, &[1, 0, 1, 0, 1]).await;
}

#[tokio::test]
async fn the_first_message_is_a_snapshot_and_says_so() {
    let Some((_server, _application, _agent, watch)) = followed("tcp: {}").await else { return };
    let first = watch.wait_for_stdout("a message", |out| Grpcurl::messages(out).next()).await;
    assert_eq!((&first["reset"], &first["synced"]), (&json!(true), &json!(true)), "{first}");
    assert_ne!(first["resumeToken"], json!(""), "{first}");
}
