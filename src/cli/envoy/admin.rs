//! Where an Envoy's admin interface listens, and where it can be reached.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// An address that another part of the same Envoy can check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AdminAddress(SocketAddr);

impl AdminAddress {
    /// Where it listens.
    pub(super) fn listens(self) -> SocketAddr {
        self.0
    }

    /// Where the Envoy reaches itself: what listens everywhere is on loopback
    /// too.
    pub(super) fn reached(self) -> SocketAddr {
        let ip = match self.0.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.0.port())
    }
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = |problem: &str| format!("{problem}; write IP:PORT");
        let address: SocketAddr = text.parse().map_err(|_| expected("is no address with a port"))?;
        if address.port() == 0 {
            return Err(expected("the port must be between 1 and 65535: it is checked by its number"));
        }
        if matches!(address, SocketAddr::V6(address) if address.scope_id() != 0) {
            return Err(expected("an Envoy takes no zone of an IPv6 address"));
        }
        Ok(Self(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_checked_on_loopback() {
        for (text, reached) in [
            ("127.0.0.1:9901", "127.0.0.1:9901"),
            ("0.0.0.0:9901", "127.0.0.1:9901"),
            ("[::]:9901", "[::1]:9901"),
            ("10.0.0.7:1", "10.0.0.7:1"),
        ] {
            let admin: AdminAddress = text.parse().unwrap();
            assert_eq!(
                (admin.listens().to_string(), admin.reached().to_string()),
                (text.into(), reached.into())
            );
        }
    }

    #[test]
    fn what_an_envoy_could_not_check_is_refused() {
        for bad in ["", "9901", "localhost:9901", "127.0.0.1:0", "[fe80::1%3]:9901", "127.0.0.1:65536"] {
            let error = bad.parse::<AdminAddress>().unwrap_err();
            assert!(error.ends_with("write IP:PORT"), "{bad}: {error}");
        }
    }
}
