//! Two meshes that use one Workload name: the first mesh holds it, until its last dataplane leaves.

use crate::support::{Server, Signal, gateway, get, retry};

async fn conflicts(server: &Server) -> String {
    let (_, metrics) = get(server.http, "/metrics").await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("headcount_workload_mesh_conflicts "));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn one_mesh_holds_a_workload_name() {
    let server = Server::start("").await;
    let holder = server.agent("web-1", &gateway("default", "web", "web-1"));
    let mut watch = server.watch("web").await;
    watch.until(Some([1, 1, 1])).await;
    assert_eq!(conflicts(&server).await, "0");
    let events = server.client("get events -w");

    let other = server.agent("web-2", &gateway("staging", "web", "web-2"));
    other.wait_for_stderr("the server warns").await;
    other.wait_for_stderr("mesh default holds the name").await;
    other.wait_for_stderr("Dataplanes of mesh staging are not counted").await;

    let listed = server.run("get events").await.expect_exit(0);
    let rows: Vec<_> = listed.out.lines().collect();
    assert_eq!(rows.len(), 2, "{listed}");
    for part in ["Warning", "MultipleMeshesDetected", "workload/web", "Skipping Workload generation"] {
        assert!(rows[1].contains(part), "{part}: {listed}");
    }
    events.wait_for_stdout("the event", |out| out.contains("MultipleMeshesDetected").then_some(())).await;
    assert_eq!(conflicts(&server).await, "1");

    // The Workload is unchanged; the other proxy is connected too.
    let yaml = server.run("get workload web -o yaml").await.expect_exit(0).out;
    assert!(yaml.contains("kuma.io/mesh: default") && yaml.contains("total: 1"), "{yaml}");
    server.run("get workload web --mesh staging").await.expect_exit(1);
    let proxies = server.run("get dataplanes -o wide").await.expect_exit(0).out;
    assert!(proxies.contains("web-2"), "{proxies}");

    // The holder leaves: a new Workload of the other mesh takes the name.
    holder.signal(Signal::TERM);
    holder.end().await.expect_exit(0);
    retry("the Workload belongs to the other mesh", async || {
        let got = server.run("get workload web --mesh staging -o yaml").await;
        (got.code == Some(0) && got.out.ends_with("connected: 1\n    healthy: 1\n    total: 1\n"))
            .then_some(())
    })
    .await;
    assert_eq!(conflicts(&server).await, "0");
}

#[tokio::test]
async fn a_repeated_event_increases_its_count() {
    let server = Server::start("").await;
    let _holder = server.agent("web-1", &gateway("default", "web", "web-1"));
    server.wait_for_counts("web", [1, 1, 1]).await;
    for round in 1..=2 {
        let other = server.agent("web-2", &gateway("staging", "web", "web-2"));
        other.wait_for_stderr("the server warns").await;
        other.signal(Signal::TERM);
        other.end().await.expect_exit(0);
        let events = server.run("get events -o json").await.expect_exit(0).out;
        let events: serde_json::Value = serde_json::from_str(&events).unwrap();
        assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
        assert_eq!(events["items"][0]["count"], round, "{events}");
    }
}
