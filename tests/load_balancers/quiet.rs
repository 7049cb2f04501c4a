//! Sessions and watches that have nothing to say for longer than a balancer's timeouts.

use crate::{
    balancer::{Configuration, Kind},
    fixture::{Fixture, WORKLOAD, wait_for_printed, with_each_balancer},
    support::{Proxy, Signal, Watch, dataplane, hello, ready},
};

/// The server sends no PINGs within the time of a test: nginx would take them for activity.
const NO_PINGS: &str = "--keepalive-interval 1m";

/// The documented configuration with timeouts of twice the interval of heartbeats.
fn with_short_timeouts(kind: Kind) -> Configuration {
    let documented = Configuration::of(kind);
    match kind {
        Kind::Nginx => documented
            .with("client_body_timeout 2m;", "client_body_timeout 12s;")
            .with("grpc_read_timeout 2m;", "grpc_read_timeout 12s;"),
        Kind::Haproxy | Kind::HaproxyTcp => documented
            .with("timeout client 2m", "timeout client 12s")
            .with("timeout server 2m", "timeout server 12s"),
        Kind::Envoy => documented.with("stream_idle_timeout: 120s", "stream_idle_timeout: 12s"),
    }
}

#[tokio::test]
async fn quiet_agents_and_watches_outlive_the_timeouts_of_a_balancer() {
    with_each_balancer(async |kind, program| {
        let fixture = Fixture::with_configuration(program, with_short_timeouts(kind), NO_PINGS).await;
        let agents = fixture.agents(2).await;
        let reader = fixture.client("get workloads -w -o json");
        wait_for_printed(&reader, [2, 2, 2]).await;

        // Opened later, without heartbeats and keep-alives: the balancer ends these.
        let silent_watch = Watch::open(fixture.connect().await, WORKLOAD).await;
        let messages = [hello(dataplane("default", "silent", "silent-1")), ready()];
        let mut silent = Proxy::open(fixture.connect().await, messages).await;
        while silent.next_response().await.is_ok() {}
        println!("{kind:?} has ended a silent session");
        let end = silent_watch.end().await;
        println!("{kind:?} has ended a silent watch: {end:?}");

        for agent in agents {
            agent.signal(Signal::TERM);
            let ended = agent.end().await.expect_exit(0);
            assert!(!ended.err.contains("session lost"), "{kind:?}: {ended}");
        }
        reader.wait_for_stdout("the end of the Workload", |out| out.contains("DELETED").then_some(())).await;
        reader.signal(Signal::INT);
        let ended = reader.end().await.expect_exit(130);
        assert!(!ended.err.contains("interrupted"), "{kind:?}: {ended}");
    })
    .await;
}
