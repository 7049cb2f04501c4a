//! How hosts reach the server: a real channel over a simulated connection.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use headcount::agent::endpoint;
use hyper_util::rt::TokioIo;
use tonic::transport::{self, Channel};

use crate::net::{Host, Network};

/// The life of the server that a channel's newest connection leads to.
pub type Life = Arc<AtomicU64>;

/// A channel with the settings of a real agent's.
pub async fn connect(network: Network, host: Host, life: Life) -> Result<Channel, transport::Error> {
    let connector = move |_| {
        let (network, life) = (network.clone(), Arc::clone(&life));
        async move {
            let (socket, leads_to) = network.connect(host).await?;
            life.store(leads_to, Relaxed);
            Ok::<_, std::io::Error>(TokioIo::new(socket))
        }
    };
    let endpoint = endpoint("http://server:7100").expect("a URL");
    endpoint.connect_with_connector(tower::service_fn(connector)).await
}
