//! Taking the next connection, whatever the system is short of.

use std::{net::SocketAddr, time::Duration};

use futures_util::{Stream, stream};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tracing::warn;

/// Before the next try after the system had no descriptor or memory left for a
/// connection: it frees some as others end.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections as they come, for as long as somebody takes them. What they
/// carry is small and waited for, so it is never held back to be sent with more.
pub(crate) fn arrivals(listener: TcpListener) -> impl Stream<Item = (TcpStream, SocketAddr)> + Send {
    stream::unfold(listener, |listener| async {
        let (io, peer) = accept(&listener).await;
        // Fails only where the connection has ended already; its first read says so.
        let _ended = io.set_nodelay(true);
        Some(((io, peer), listener))
    })
}

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
