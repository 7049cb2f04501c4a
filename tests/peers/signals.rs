//! Signals of `serve` and `agent` besides SIGTERM and SIGINT.

use crate::support::{Server, Signal, gateway};

#[tokio::test]
async fn hangup_and_user_signals_are_logged_and_change_nothing() {
    let server = Server::start("").await;
    let agent = server.agent("web-1", &gateway("default", "web", "web-1"));
    let mut watch = server.watch("web").await;
    watch.until(Some([1, 1, 1])).await;
    let before = watch.seen().len();
    for (signal, name) in [(Signal::HUP, "SIGHUP"), (Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")] {
        for program in [&agent, &server.program] {
            program.signal(signal);
            program.wait_for_stderr(name).await;
        }
    }
    // A goodbye would be the next change; so would a loss.
    let _second = server.agent("web-2", &gateway("default", "web", "web-2"));
    watch.until(Some([2, 2, 2])).await;
    assert!(watch.seen()[before..].iter().all(|counts| counts.is_some_and(|[_, _, total]| total >= 1)));
    assert!(watch.seen()[before..].iter().all(|counts| counts.is_some_and(|[connected, ..]| connected >= 1)));
}

#[tokio::test]
async fn quit_ends_an_agent_with_a_goodbye() {
    let server = Server::start("").await;
    let agent = server.agent("web-1", &gateway("default", "web", "web-1"));
    let mut watch = server.watch("web").await;
    watch.until(Some([1, 1, 1])).await;
    agent.signal(Signal::QUIT);
    watch.until(None).await;
    agent.end().await.expect_exit(0);
}
