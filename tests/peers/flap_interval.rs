//! Settings at the edge of what the protocol's timeouts allow, with a real agent.

use crate::support::{Application, Server, get, service};

/// The acknowledgement of a deferred report comes with it; the agent must not take the delay for a
/// dead server.
#[tokio::test]
async fn at_the_longest_flap_interval_an_agent_keeps_its_session() {
    let server = Server::start("--flap-interval 2s").await;
    let application = Application::start(server.site.any_port());
    let text = service("demo-1", application.address(), "http: { path: /healthz }");
    let _agent = server.agent("demo-1", &text);
    let mut watch = server.watch("demo-workload").await;
    watch.until(Some([1, 1, 1])).await;
    for _ in 0..3 {
        application.answer_with(500);
        watch.until(Some([1, 0, 1])).await;
        application.answer_with(200);
        watch.until(Some([1, 1, 1])).await;
    }
    let (_, metrics) = get(server.http, "/metrics").await.unwrap();
    assert!(metrics.contains("headcount_sessions_opened_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_longer_flap_interval_is_refused_at_start() {
    let refused =
        crate::support::Program::start(&mut crate::support::headcount("serve --flap-interval 5s")).end();
    let err = refused.await.expect_exit(64).err;
    assert!(err.contains("--flap-interval") && err.contains("must be 2s or less"), "{err}");
}
