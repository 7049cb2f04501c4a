//! The address by which clients are counted and limited.

use std::net::{IpAddr, Ipv6Addr};

/// Returns the address itself, or the /64 network of an IPv6 address, in which a host can choose any
/// address. The loopback address of IPv6 has no such network.
pub(crate) fn client_address(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into()
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_host_are_equal() {
        for (ip, expected) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
            ("::1", "::1"),
        ] {
            assert_eq!(client_address(ip.parse().unwrap()).to_string(), expected);
        }
    }
}
