//! A server with a low limit of open files.

use std::{fs, net::SocketAddr};

use serde_json::Value;
use tokio::{io::AsyncReadExt as _, net::TcpStream, process::Command};

use crate::support::{Program, Signal, Site, get, headcount, retry};

/// Idle clients hold all connections: the server closes new ones and still answers HTTP. Once they have
/// disconnected, it serves as before.
#[tokio::test]
async fn a_server_out_of_connections_closes_new_ones_and_recovers() {
    let site = Site::new();
    let (any, addresses) = (site.any_port(), site.path("addresses.json"));
    let serve = format!(
        "--grpc-addr {any} --http-addr {any} --kube-api-addr {any} --addresses-file {}",
        addresses.display()
    );
    let shell = format!("ulimit -n 64; exec {} serve {serve}", env!("CARGO_BIN_EXE_headcount"));
    let server = Program::start(Command::new("sh").args(["-c", &shell]));
    server.wait_for_stderr("lowered").await;
    server.wait_for_stderr("serving").await;
    let addresses: Value = serde_json::from_slice(&fs::read(addresses).unwrap()).unwrap();
    let address = |of: &str| -> SocketAddr { addresses[of].as_str().unwrap().parse().unwrap() };
    let (grpc, http) = (address("grpc"), address("http"));

    // This takes less than the preface timeout, so the server closes none of them for being silent.
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(grpc).await.unwrap());
    }
    let closed = idle.last_mut().unwrap().read(&mut [0]).await;
    assert!(matches!(closed, Ok(0) | Err(_)), "the last one is closed at once: {closed:?}");
    assert_eq!(get(http, "/livez").await, Some((200, "ok\n".to_owned())));
    drop(idle);
    retry("the server serves again", async || {
        let command = format!("get workloads --server {grpc}");
        (Program::start(&mut headcount(&command)).end().await.code == Some(0)).then_some(())
    })
    .await;
    server.signal(Signal::TERM);
    server.end().await.expect_exit(0);
}
