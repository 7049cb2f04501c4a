//! Streams of accepted TCP connections, with their socket options set.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use rustix::net::sockopt;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tracing::warn;

/// Wait before the next `accept` after one failed for want of file descriptors or
/// memory; both are freed as other connections end.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// TCP keepalive probes before a connection is reset: up to two may be lost.
const KEEPALIVE_PROBES: u32 = 3;

/// Returns an endless stream of the listener's connections.
///
/// `TCP_NODELAY` is set, because messages are small and latency matters. A connection
/// whose peer acknowledges no data for `peer_timeout` is reset.
pub(crate) fn incoming(
    listener: TcpListener,
    peer_timeout: Duration,
) -> impl Stream<Item = (TcpStream, SocketAddr)> + Send {
    stream::unfold(listener, move |listener| async move {
        let (io, peer) = accept(&listener).await;
        // Fails only if the connection has ended; the first read reports that.
        let _ended = io.set_nodelay(true);
        set_user_timeout(&io, peer_timeout);
        Some(((io, peer), listener))
    })
}

/// Like [`incoming`], with TCP keepalive, for protocols that have no PING of their own.
/// A peer that has sent nothing for `peer_timeout` is probed; the connection is reset if
/// it does not answer.
pub(crate) fn incoming_with_keepalive(
    listener: TcpListener,
    peer_timeout: Duration,
) -> impl Stream<Item = (TcpStream, SocketAddr)> + Send {
    incoming(listener, peer_timeout).inspect(move |(io, _)| {
        // Fails only if the connection has ended.
        let _ended = set_keepalive(io, peer_timeout);
    })
}

fn set_keepalive(io: &TcpStream, idle: Duration) -> io::Result<()> {
    sockopt::set_socket_keepalive(io, true)?;
    sockopt::set_tcp_keepidle(io, idle)?;
    sockopt::set_tcp_keepintvl(io, (idle / KEEPALIVE_PROBES).max(Duration::from_secs(1)))?;
    sockopt::set_tcp_keepcnt(io, KEEPALIVE_PROBES)?;
    Ok(())
}

/// Accepts the next connection; logs errors and retries.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => warn!(%error, listener = ?listener.local_addr().ok(), "can't accept a connection"),
        }
        sleep(RETRY_DELAY).await;
    }
}

/// Sets `TCP_USER_TIMEOUT` (RFC 5482). HTTP/2's keepalive ends a connection with a
/// GOAWAY, which can never be written to a peer that has stopped reading; the connection
/// would stay open. Systems other than Linux reset it after minutes.
fn set_user_timeout(io: &TcpStream, timeout: Duration) {
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        // Fails only if the connection has ended.
        let _ended = sockopt::set_tcp_user_timeout(io, millis);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (io, timeout);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keepalive_and_user_timeout_are_set_on_accepted_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut incoming = Box::pin(incoming_with_keepalive(listener, Duration::from_mins(1)));
        let _client = TcpStream::connect(addr).await.unwrap();
        let (io, _) = incoming.next().await.unwrap();
        assert!(io.nodelay().unwrap() && sockopt::socket_keepalive(&io).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&io).unwrap(), Duration::from_mins(1));
        assert_eq!(sockopt::tcp_keepintvl(&io).unwrap(), Duration::from_secs(20));
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&io).unwrap(), 60_000);
    }
}
