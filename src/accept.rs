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
/// Whoever takes nothing of it for as long as `patience` is cut.
pub(crate) fn arrivals(
    listener: TcpListener,
    patience: Duration,
) -> impl Stream<Item = (TcpStream, SocketAddr)> + Send {
    stream::unfold(listener, move |listener| async move {
        let (io, peer) = accept(&listener).await;
        // Fails only where the connection has ended already; its first read says so.
        let _ended = io.set_nodelay(true);
        give_up_after(&io, patience);
        Some(((io, peer), listener))
    })
}

/// The next connection. What goes wrong is logged and tried again.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => warn!(%error, listener = ?listener.local_addr().ok(), "can't accept a connection"),
        }
        sleep(PAUSE).await;
    }
}

/// HTTP/2's keepalive ends a connection with a last word, for which a socket that
/// is full has no room: that word would wait for ever, and the connection with it.
/// So the system gives up what nobody takes (`TCP_USER_TIMEOUT`, RFC 5482). Where
/// it can't, it does so after its own time, which is some minutes.
fn give_up_after(io: &TcpStream, patience: Duration) {
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        // Fails only where the connection has ended already.
        let _ended = rustix::net::sockopt::set_tcp_user_timeout(io, millis);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (io, patience);
}
