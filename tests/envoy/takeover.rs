//! Envoys and agents speak for dataplanes of one workload, also for the same.

use serde_json::Value;

use crate::{
    application::Application,
    stage::{Stage, WORKLOAD, never_more_than},
    support::Server,
};

#[tokio::test]
async fn an_envoy_and_an_agent_are_proxies_of_one_workload() {
    let Some(stage) = Stage::set("").await else { return };
    let application = Application::start(&stage.server.site).await;
    let file = |name| Stage::dataplane(name, &application);
    let mut watch = stage.server.watch(WORKLOAD).await;
    let agent = stage.server.agent("web-1", &file("web-1"));
    agent.wait_for_stderr("connected").await;
    let _envoy = stage.envoy("web-2", &file("web-2")).await;
    watch.until(Some([2, 2, 2])).await;
    // They look after the same application.
    application.kill();
    watch.until(Some([2, 0, 2])).await;
    stage.agrees([2, 0, 2]).await;
}

/// The dataplane's labels, inbounds and version, as anybody can ask for them.
async fn stated(server: &Server) -> Value {
    let dataplane = server.run("get dataplanes web-1 -o json").await.expect_exit(0).out;
    serde_json::from_str(&dataplane).unwrap()
}

#[tokio::test]
async fn a_dataplane_moves_from_its_agent_to_its_envoy_and_back() {
    let Some(stage) = Stage::set("").await else { return };
    let application = Application::start(&stage.server.site).await;
    let file = Stage::dataplane("web-1", &application);
    let mut watch = stage.server.watch(WORKLOAD).await;
    let agent = stage.server.agent("web-1", &file);
    watch.until(Some([1, 1, 1])).await;
    let by_agent = stated(&stage.server).await;

    let envoy = stage.envoy("web-1", &file).await;
    let ended = agent.end().await.expect_exit(2);
    assert!(ended.err.contains("a newer session of the dataplane"), "{ended}");
    stage.server.run(&format!("wait workload {WORKLOAD} --healthy 1")).await.expect_exit(0);
    let by_envoy = stated(&stage.server).await;
    assert_eq!(by_envoy["networking"]["inbound"], by_agent["networking"]["inbound"], "{by_envoy}");

    // An Envoy that is sent away comes back for ever, so who wants the agent in
    // its place ends it.
    let agent = stage.server.agent("web-1", &file);
    agent.end().await.expect_exit(2);
    envoy.kill();
    watch.until(Some([0, 0, 1])).await;
    let _agent = stage.server.agent("web-1", &file);
    watch.until(Some([1, 1, 1])).await;
    assert_eq!(stated(&stage.server).await["networking"], by_agent["networking"]);
    never_more_than(&watch, 1);
}
