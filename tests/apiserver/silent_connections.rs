//! Clients that connect and send nothing must not keep kube-apiserver out: webhooks fail closed.

use std::time::{Duration, Instant};

use http::Method;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    admission::{create, pod},
    support::{Site, VALIDATE, WORKLOADS},
};

/// More than the default of `--max-kube-connections`.
const SILENT: usize = 1_100;
/// Less than any timeout of the server, so a served request did not wait for one.
const AT_ONCE: Duration = Duration::from_secs(4);
const ALICE: (&str, &str) = ("x-remote-user", "alice");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_keep_neither_webhooks_nor_the_api_out() {
    let site = Site::start().await;
    let (caller, aggregator) = (site.client(None), site.aggregator());
    let review = create(&pod(&serde_json::json!({"name": "r"}))).to_string();
    let mut open = aggregator.open().await;
    assert_eq!(open.request(Method::GET, WORKLOADS, &[ALICE], "").await.code, 200);
    let mut silent = Vec::new();
    for n in 0..3 * SILENT {
        let mut io = TcpStream::connect(site.addr()).await.expect("the server listens");
        if n % 2 == 0 {
            io.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.expect("an open connection");
        }
        silent.push(io);
        if silent.len() % SILENT == 0 {
            let start = Instant::now();
            assert_eq!(caller.review(VALIDATE, &review).await.code, 200);
            assert_eq!(aggregator.get(WORKLOADS, &[ALICE]).await.code, 200);
            // An open connection of kube-apiserver is closed after those of all other clients.
            assert_eq!(open.request(Method::GET, WORKLOADS, &[ALICE], "").await.code, 200);
            assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
        }
    }
}
