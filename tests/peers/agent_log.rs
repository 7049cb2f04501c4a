//! What the agent logs about its Dataplane file and about its application.

use crate::support::{Application, Server, Signal, replace, service};

#[tokio::test]
async fn the_agent_logs_unknown_keys_and_the_cause_of_each_change_of_health() {
    let server = Server::start("").await;
    let application = Application::start(server.site.any_port());
    let address = application.address();
    let file = service("demo-1", address, "http: {path: /healthz}");
    let file = replace(&file, "networking:", "lables: {}\nnetworking:");
    let file = replace(&file, "labels:", "labels:\n  kuma.io/zones: east");
    let agent = server.agent("demo-1", &file);
    server.run("wait workload demo-workload --healthy 1").await.expect_exit(0);
    application.answer_with(503);
    server.wait_for_counts("demo-workload", [1, 0, 1]).await;
    agent.signal(Signal::TERM);
    let log = agent.end().await.expect_exit(0).err;
    for part in [
        "demo-1.yaml: lables: is not a key of Kuma's Dataplane and is ignored: did you mean labels?",
        "is not a label of Kuma: did you mean kuma.io/zone?",
        &format!("health changed inbound=18080 address=\"{address}\" state=Ready cause=\"the probe passed\""),
        &format!(
            "health changed inbound=18080 address=\"{address}\" state=NotReady cause=\"the response has status 503"
        ),
    ] {
        assert!(log.contains(part), "{part} is not in:\n{log}");
    }
}
