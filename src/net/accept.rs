//! Taking the next connection, whatever the system is short of.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use rustix::net::sockopt;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tracing::warn;

/// Before the next try after the system had no descriptor or memory left for a
/// connection: it frees some as others end.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a quiet peer is asked before it is cut: one packet may be lost, and the
/// next.
const QUESTIONS: u32 = 3;

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

/// The same for a protocol without PINGs: of a peer that has been quiet for a while
/// the system asks whether it is still there, and cuts it if it does not answer.
pub(crate) fn quiet_arrivals(
    listener: TcpListener,
    patience: Duration,
) -> impl Stream<Item = (TcpStream, SocketAddr)> + Send {
    arrivals(listener, patience).inspect(move |(io, _)| {
        // Fails only where the connection has ended already.
        let _ended = ask_when_quiet(io, patience);
    })
}

fn ask_when_quiet(io: &TcpStream, patience: Duration) -> io::Result<()> {
    sockopt::set_socket_keepalive(io, true)?;
    sockopt::set_tcp_keepidle(io, patience)?;
    sockopt::set_tcp_keepintvl(io, (patience / QUESTIONS).max(Duration::from_secs(1)))?;
    sockopt::set_tcp_keepcnt(io, QUESTIONS)?;
    Ok(())
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
        let _ended = sockopt::set_tcp_user_timeout(io, millis);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (io, patience);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn quiet_peers_are_asked_and_all_are_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut arrivals = Box::pin(quiet_arrivals(listener, Duration::from_mins(1)));
        let _client = TcpStream::connect(addr).await.unwrap();
        let (io, _) = arrivals.next().await.unwrap();
        assert!(io.nodelay().unwrap() && sockopt::socket_keepalive(&io).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&io).unwrap(), Duration::from_mins(1));
        assert_eq!(sockopt::tcp_keepintvl(&io).unwrap(), Duration::from_secs(20));
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&io).unwrap(), 60_000);
    }
}
