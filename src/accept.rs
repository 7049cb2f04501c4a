//! Taking the next connection, whatever the system is short of.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tracing::warn;

/// Before the next try after the system had no descriptor or memory left for a
/// connection: it frees some as others end.
const PAUSE: Duration = Duration::from_millis(100);

/// The next connection. What goes wrong is logged and tried again.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => warn!(%error, listener = ?listener.local_addr().ok(), "can't accept a connection"),
        }
        sleep(PAUSE).await;
    }
}
