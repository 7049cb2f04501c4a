//! Two agents of one identity whose supervisors start them again whenever they exit.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::SeqCst},
};

use tokio::task::JoinHandle;

use crate::support::{Server, Watch, gateway, get, retry};

/// Keeps an agent running until it is dropped.
struct Supervisor {
    task: JoinHandle<()>,
    /// How often the agent exited because another one took over.
    exits: Arc<AtomicU32>,
}

impl Supervisor {
    /// Starts an agent of `web-1`, and starts it again whenever it exits.
    fn start(server: &Arc<Server>, file: &'static str) -> Self {
        let (server, exits) = (Arc::clone(server), Arc::new(AtomicU32::new(0)));
        let counter = Arc::clone(&exits);
        let task = tokio::spawn(async move {
            loop {
                let mut agent = server.agent(file, &gateway("default", "web", "web-1"));
                if agent.exited().await == Some(2) {
                    counter.fetch_add(1, SeqCst);
                }
            }
        });
        Self { task, exits }
    }

    fn exits(&self) -> u32 {
        self.exits.load(SeqCst)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How often the number of healthy proxies fell.
fn falls(watch: &Watch) -> usize {
    let healthy: Vec<_> =
        watch.seen().iter().map(|counts| counts.map_or(0, |[_, healthy, _]| healthy)).collect();
    healthy.windows(2).filter(|pair| pair[1] < pair[0]).count()
}

#[tokio::test]
async fn two_supervised_agents_change_the_counts_once() {
    let server = Arc::new(Server::start("").await);
    let mut watch = server.watch("web").await;
    let one = Supervisor::start(&server, "one");
    watch.until(Some([1, 1, 1])).await;
    let two = Supervisor::start(&server, "two");
    let table = retry("the event", async || {
        let table = server.run("get events").await.expect_exit(0).out;
        table.contains("DuplicateIdentity").then_some(table)
    });
    let table = table.await;
    assert!(
        table.contains("dataplane/web-1") && table.contains("is held off until that one ends"),
        "{table}"
    );
    let (_, metrics) = get(server.http, "/metrics").await.unwrap();
    let held_off = metrics.lines().find_map(|line| line.strip_prefix("headcount_sessions_held_off_total "));
    assert!(held_off.is_some_and(|count| count != "0"), "{held_off:?}");

    // A later change shows that the watch has delivered all earlier ones.
    let _peer = server.agent("web-2", &gateway("default", "web", "web-2"));
    watch.until(Some([2, 2, 2])).await;
    assert_eq!((one.exits(), two.exits(), falls(&watch)), (1, 0, 1), "{:?}", watch.seen());

    // The agent that is held off connects after the other one has ended: it retries every 8 s.
    drop(two);
    watch.until(Some([1, 1, 2])).await;
    watch.until(Some([2, 2, 2])).await;
    assert_eq!(one.exits(), 1);
}
