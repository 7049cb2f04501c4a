//! Listening sockets.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel queues before they are accepted: room for all proxies to
/// reconnect at once after a restart. A client whose SYN is dropped retries after 1 s,
/// 3 s and 7 s. The system lowers this to its own maximum (`net.core.somaxconn`, 4,096
/// on Linux).
const BACKLOG: u32 = 65_535;

/// Binds a listener to `addr`; port 0 takes a free port.
///
/// # Errors
///
/// If the system refuses the address, for example because it is in use.
pub(crate) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted server can bind while old connections are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}
