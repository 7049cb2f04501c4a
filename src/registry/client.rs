//! The client that opened a session, as far as the server can know it.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use crate::model::Attempt;

/// The client of a session: an agent states its process, of any other client only the
/// address is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Client {
    /// Which attempt of which agent this is; the default if the client does not state it.
    pub attempt: Attempt,
    /// The other end of the connection; none if unknown.
    pub peer: Option<SocketAddr>,
}

impl Client {
    /// Whether both are certainly the same process. An Envoy keeps its connection when its
    /// stream ends, so an equal address means the same Envoy.
    pub(crate) fn is_same_as(self, other: Self) -> bool {
        match (self.attempt.instance, other.attempt.instance) {
            (0, 0) => self.peer.is_some() && self.peer == other.peer,
            (one, two) => one == two,
        }
    }

    /// Whether both are different, as far as is known: different agent processes, or different
    /// connections of clients that are no agents.
    pub(crate) fn differs_from(self, other: Self) -> bool {
        match (self.attempt.instance, other.attempt.instance) {
            (0, 0) => self.peer.is_some() && other.peer.is_some() && self.peer != other.peer,
            (one, two) => one != two,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "{peer}")?,
            None => f.write_str("an unknown address")?,
        }
        match self.attempt.instance {
            0 => Ok(()),
            instance => write!(f, " (instance {instance:016x})"),
        }
    }
}

/// A peer's address in 18 bytes, because each of a million sessions has one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress {
    ip: Ipv6Addr,
    /// 0 if the address is unknown.
    port: u16,
}

impl From<Option<SocketAddr>> for PeerAddress {
    fn from(peer: Option<SocketAddr>) -> Self {
        let ip = match peer.map(|peer| peer.ip()) {
            Some(IpAddr::V6(ip)) => ip,
            Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped(),
            None => Ipv6Addr::UNSPECIFIED,
        };
        Self { ip, port: peer.map_or(0, |peer| peer.port()) }
    }
}

impl From<PeerAddress> for Option<SocketAddr> {
    fn from(PeerAddress { ip, port }: PeerAddress) -> Self {
        (port > 0).then(|| SocketAddr::new(ip.to_canonical(), port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(instance: u64, peer: &str) -> Client {
        Client { attempt: Attempt { instance, number: 1 }, peer: peer.parse().ok() }
    }

    #[test]
    fn agents_differ_by_their_instance_and_other_clients_by_their_address() {
        let (one, two) = ("10.0.0.1:1", "10.0.0.1:2");
        for (a, b, same, different) in [
            (client(7, one), client(7, two), true, false),
            (client(7, one), client(8, one), false, true),
            (client(7, one), client(0, one), false, true),
            (client(0, one), client(0, one), true, false),
            (client(0, one), client(0, two), false, true),
            (client(0, ""), client(0, two), false, false),
            (client(0, ""), client(0, ""), false, false),
        ] {
            assert_eq!((a.is_same_as(b), b.is_same_as(a)), (same, same), "{a} {b}");
            assert_eq!((a.differs_from(b), b.differs_from(a)), (different, different), "{a} {b}");
        }
    }

    #[test]
    fn an_address_is_restored() {
        for peer in ["10.0.0.1:65535", "[2001:db8::1]:80", ""] {
            let peer: Option<SocketAddr> = peer.parse().ok();
            assert_eq!(Option::from(PeerAddress::from(peer)), peer);
        }
        assert_eq!(size_of::<PeerAddress>(), 18);
    }

    #[test]
    fn it_is_displayed_for_operators() {
        assert_eq!(client(0, "10.0.0.1:80").to_string(), "10.0.0.1:80");
        assert_eq!(client(10, "").to_string(), "an unknown address (instance 000000000000000a)");
    }
}
