//! Limits, and the responses of clients that reach them.

use tokio::{io::AsyncReadExt as _, net::TcpStream};

use crate::support::{EVENTS, IN_DEFAULT, Server, WORKLOADS, soon};

#[tokio::test]
async fn watches_count_towards_max_watchers_until_they_end() {
    let server = Server::with(|config| config.registry.max_watchers = 2).await;
    let first = server.watch(&format!("{WORKLOADS}?watch=true")).await;
    let _second = server.watch(&format!("{EVENTS}?watch=true")).await;
    assert_eq!(server.registry().watchers(), 2);
    for path in [WORKLOADS, EVENTS] {
        let rejected = server.get(&format!("{path}?watch=true")).await;
        rejected.assert_status(429, "TooManyRequests", &["max-watchers"]);
        assert_eq!(rejected.header("retry-after"), "1");
    }
    assert_eq!(server.get(WORKLOADS).await.code, 200, "a list does not count as a watcher");
    drop(first);
    soon("the end of a watch", async {
        while server.registry().watchers() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let _third = server.watch(&format!("{WORKLOADS}?watch=true")).await;
}

#[tokio::test]
async fn connections_above_the_limit_are_closed_and_counted() {
    let server = Server::with(|config| config.kube.max_connections = 2).await;
    let watches = [
        server.watch(&format!("{WORKLOADS}?watch=true")).await,
        server.watch(&format!("{WORKLOADS}?watch=true")).await,
    ];
    let mut rejected = TcpStream::connect(server.addr()).await.unwrap();
    assert_eq!(soon("the end of the connection", rejected.read(&mut [0])).await.unwrap_or(0), 0);
    let metrics = soon("metrics", scrape(&server)).await;
    assert!(metrics.contains(r#"headcount_shed_total{limit="max-kube-connections"} 1"#), "{metrics}");
    drop(watches);
    soon("the end of the watches", async {
        while server.registry().watchers() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.get("/livez").await.code, 200);
}

/// Of 32 connections four are reserved for other requests, such as webhooks.
#[tokio::test]
async fn watches_cannot_use_all_connections() {
    let server = Server::with(|config| config.kube.max_connections = 32).await;
    let mut watches = Vec::new();
    for _ in 0..28 {
        watches.push(server.watch(&format!("{WORKLOADS}?watch=true")).await);
    }
    for path in [WORKLOADS, EVENTS] {
        let rejected = server.get_with_retries(&format!("{path}?watch=true")).await;
        rejected.assert_status(429, "TooManyRequests", &["max-kube-connections"]);
        assert_eq!(rejected.header("retry-after"), "1");
    }
    assert_eq!(server.get_with_retries(WORKLOADS).await.code, 200);
    let metrics = soon("metrics", scrape(&server)).await;
    let shed = metrics.lines().find_map(|line| {
        line.strip_prefix(r#"headcount_shed_total{limit="max-kube-connections"} "#)?.parse::<u32>().ok()
    });
    assert!(shed.is_some_and(|shed| shed >= 2), "{metrics}");
    watches.pop();
    soon("the end of a watch", async {
        while server.registry().watchers() > 27 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let _another = server.watch(&format!("{EVENTS}?watch=true")).await;
}

#[tokio::test]
async fn requests_are_counted_by_verb_resource_and_code() {
    let server = Server::start().await;
    server.get(WORKLOADS).await.ok();
    server.get(&format!("{IN_DEFAULT}/nope")).await.assert_status(404, "NotFound", &[]);
    server.request(http::Method::DELETE, &format!("{IN_DEFAULT}/nope"), &[], "").await.assert_status(
        405,
        "MethodNotAllowed",
        &[],
    );
    let _watch = server.watch(&format!("{EVENTS}?watch=true")).await;
    let metrics = soon("metrics", scrape(&server)).await;
    for (code, resource, verb) in [
        (200, "workloads", "list"),
        (404, "workloads", "get"),
        (405, "workloads", "delete"),
        (200, "events", "watch"),
    ] {
        let series = format!(
            r#"headcount_kube_requests_total{{code="{code}",resource="{resource}",verb="{verb}"}} 1"#
        );
        assert!(metrics.contains(&series), "{series} is not in {metrics}");
    }
}

async fn scrape(server: &Server) -> String {
    use tokio::io::AsyncWriteExt as _;
    let mut io = TcpStream::connect(server.app.addresses().http).await.unwrap();
    io.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    io.read_to_string(&mut text).await.unwrap();
    text
}
