//! The drain of the server.

use tokio::net::TcpStream;

use crate::support::{EVENTS, Server, WORKLOADS, soon};

/// They end like watches that have reached their timeout, after which clients reconnect.
#[tokio::test]
async fn watches_end_when_the_server_drains() {
    let server = Server::start().await;
    let _proxy = server.join("web", 1);
    let mut workloads = server.watch(&format!("{WORKLOADS}?watch=true")).await;
    assert_eq!(workloads.event().await.r#type, "ADDED");
    let mut events = server.watch(&format!("{EVENTS}?watch=true")).await;
    let addr = server.addr();
    let drained = tokio::spawn(server.app.drain());
    workloads.assert_ends().await;
    events.assert_ends().await;
    assert!(soon("the drain", drained).await.unwrap(), "no connection had to be closed");
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn the_kubernetes_api_can_be_disabled() {
    let server = Server::with(|config| config.kube.addr = None).await;
    assert_eq!(server.app.addresses().kube, None);
    let json = serde_json::to_value(server.app.addresses()).unwrap();
    assert!(json.get("kube").is_none(), "{json}");
    assert!(soon("the drain", server.app.drain()).await);
}
