//! A real gRPC channel over a simulated connection.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use headcount::net::client::ServerEndpoint;
use hyper_util::rt::TokioIo;
use tonic::transport::{self, Channel};

use crate::net::{Host, Network};

/// The server incarnation that a channel's newest connection leads to.
pub type ConnectedTo = Arc<AtomicU64>;

/// Opens a channel with the settings of a real agent's channel.
pub async fn connect(
    network: Network,
    host: Host,
    connected_to: ConnectedTo,
) -> Result<Channel, transport::Error> {
    let connector = move |_| {
        let (network, connected_to) = (network.clone(), Arc::clone(&connected_to));
        async move {
            let (socket, incarnation) = network.connect(host).await?;
            connected_to.store(incarnation, Relaxed);
            Ok::<_, std::io::Error>(TokioIo::new(socket))
        }
    };
    let server = ServerEndpoint::plaintext("http://server:7100").expect("a URL");
    server.http2().connect_with_connector(tower::service_fn(connector)).await
}
