//! Where the Kubernetes API may listen.

use std::{net::SocketAddr, str::FromStr};

/// An address, or none.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct KubeApiAddr(pub(in crate::cli) Option<SocketAddr>);

impl FromStr for KubeApiAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let addr = text
            .parse()
            .map_err(|_| "must be an address with a port, such as 127.0.0.1:7102, or off".to_owned())?;
        Ok(Self(Some(addr)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_address_or_off() {
        let parse = str::parse::<KubeApiAddr>;
        for good in ["127.0.0.1:7102", "[::1]:0", "0.0.0.0:7102"] {
            assert_eq!(parse(good).unwrap(), KubeApiAddr(Some(good.parse().unwrap())));
        }
        assert_eq!(parse("off").unwrap(), KubeApiAddr(None));
        for none in ["", "localhost:7102", "7102", "OFF"] {
            assert!(parse(none).unwrap_err().contains("or off"), "{none}");
        }
    }
}
