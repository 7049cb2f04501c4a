//! A server that may open few files.

use std::{fs, net::SocketAddr};

use serde_json::Value;
use tokio::{io::AsyncReadExt as _, net::TcpStream, process::Command};

use crate::support::{Program, Signal, Site, get, headcount, retry};

/// Strangers hold all connections there are: new ones are closed, HTTP still
/// answers, and once they are gone the server serves as before.
#[tokio::test]
async fn a_server_without_room_refuses_and_recovers() {
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

    // Within the time for a preface, so that none is closed for being silent.
    let mut strangers = Vec::new();
    for _ in 0..100 {
        strangers.push(TcpStream::connect(grpc).await.unwrap());
    }
    let refused = strangers.last_mut().unwrap().read(&mut [0]).await;
    assert!(matches!(refused, Ok(0) | Err(_)), "the last of them is closed at once: {refused:?}");
    assert_eq!(get(http, "/livez").await, Some((200, "ok\n".to_owned())));
    drop(strangers);
    retry("the server serves again", async || {
        let command = format!("get workloads --server {grpc}");
        (Program::start(&mut headcount(&command)).end().await.code == Some(0)).then_some(())
    })
    .await;
    server.signal(Signal::TERM);
    server.end().await.expect_exit(0);
}
