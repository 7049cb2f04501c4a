//! The address of Envoy's admin interface.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// The address on which Envoy's admin interface listens, and on which the same Envoy can check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AdminAddress(SocketAddr);

/// Port of Envoy's admin interface in Envoy's and Kuma's documentation.
pub(super) const DEFAULT_PORT: u16 = 9901;

impl AdminAddress {
    /// The given port on loopback.
    pub(super) fn loopback(port: u16) -> Self {
        Self(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
    }

    /// The address to listen on.
    pub(super) fn listen_address(self) -> SocketAddr {
        self.0
    }

    /// The address to check: loopback if the interface listens on all addresses.
    pub(super) fn check_address(self) -> SocketAddr {
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
        let address: SocketAddr = text.parse().map_err(|_| expected("must be an IP address with a port"))?;
        if address.port() == 0 {
            return Err(expected("the port must be between 1 and 65535"));
        }
        if matches!(address, SocketAddr::V6(address) if address.scope_id() != 0) {
            return Err(expected("Envoy does not support the zone of an IPv6 address"));
        }
        Ok(Self(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_on_all_addresses_is_checked_on_loopback() {
        for (text, checked) in [
            ("127.0.0.1:9901", "127.0.0.1:9901"),
            ("0.0.0.0:9901", "127.0.0.1:9901"),
            ("[::]:9901", "[::1]:9901"),
            ("10.0.0.7:1", "10.0.0.7:1"),
        ] {
            let admin: AdminAddress = text.parse().unwrap();
            assert_eq!(
                (admin.listen_address().to_string(), admin.check_address().to_string()),
                (text.into(), checked.into())
            );
        }
    }

    #[test]
    fn an_address_that_envoy_can_not_check_is_rejected() {
        for bad in ["", "9901", "localhost:9901", "127.0.0.1:0", "[fe80::1%3]:9901", "127.0.0.1:65536"] {
            let error = bad.parse::<AdminAddress>().unwrap_err();
            assert!(error.ends_with("write IP:PORT"), "{bad}: {error}");
        }
    }
}
