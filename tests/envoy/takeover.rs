//! Envoys and agents of one workload, also of one dataplane.

use serde_json::Value;

use crate::{
    application::Application,
    fixture::{Fixture, WORKLOAD, assert_never_above},
    support::Server,
};

#[tokio::test]
async fn an_envoy_and_an_agent_are_counted_in_one_workload() {
    let Some(fixture) = Fixture::start("").await else { return };
    let application = Application::start(&fixture.server.site).await;
    let file = |name| Fixture::dataplane(name, &application);
    let mut watch = fixture.server.watch(WORKLOAD).await;
    let agent = fixture.server.agent("web-1", &file("web-1"));
    agent.wait_for_stderr("connected").await;
    let _envoy = fixture.envoy("web-2", &file("web-2")).await;
    watch.until(Some([2, 2, 2])).await;
    // Both check the same application.
    application.kill();
    watch.until(Some([2, 0, 2])).await;
    fixture.assert_list_and_metrics([2, 0, 2]).await;
}

/// Returns the dataplane as `get dataplanes` prints it.
async fn get_dataplane(server: &Server) -> Value {
    let dataplane = server.run("get dataplanes web-1 -o json").await.expect_exit(0).out;
    serde_json::from_str(&dataplane).unwrap()
}

#[tokio::test]
async fn a_dataplane_moves_from_its_agent_to_its_envoy_and_back() {
    let Some(fixture) = Fixture::start("").await else { return };
    let application = Application::start(&fixture.server.site).await;
    let file = Fixture::dataplane("web-1", &application);
    let mut watch = fixture.server.watch(WORKLOAD).await;
    let agent = fixture.server.agent("web-1", &file);
    watch.until(Some([1, 1, 1])).await;
    let by_agent = get_dataplane(&fixture.server).await;

    let envoy = fixture.envoy("web-1", &file).await;
    let ended = agent.end().await.expect_exit(2);
    assert!(ended.err.contains("another process with the identity of dataplane"), "{ended}");
    fixture.server.run(&format!("wait workload {WORKLOAD} --healthy 1")).await.expect_exit(0);
    let by_envoy = get_dataplane(&fixture.server).await;
    assert_eq!(by_envoy["networking"]["inbound"], by_agent["networking"]["inbound"], "{by_envoy}");

    // The second takeover within a minute must wait until the Envoy has ended; the agent retries.
    let agent = fixture.server.agent("web-1", &file);
    agent.wait_for_stderr("another process with the identity of this dataplane is connected").await;
    envoy.kill();
    watch.until(Some([0, 0, 1])).await;
    watch.until(Some([1, 1, 1])).await;
    assert_eq!(get_dataplane(&fixture.server).await["networking"], by_agent["networking"]);
    assert_never_above(&watch, 1);
}
