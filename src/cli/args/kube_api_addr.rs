//! `--kube-api-addr`.

use std::{net::SocketAddr, str::FromStr};

/// The listen address of the Kubernetes API, or `off`, which is `None`.
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
            .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:7102, or off".to_owned())?;
        Ok(Self(Some(addr)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_an_address_with_a_port_and_off() {
        let parse = str::parse::<KubeApiAddr>;
        for valid in ["127.0.0.1:7102", "[::1]:0", "0.0.0.0:7102"] {
            assert_eq!(parse(valid).unwrap(), KubeApiAddr(Some(valid.parse().unwrap())));
        }
        assert_eq!(parse("off").unwrap(), KubeApiAddr(None));
        for invalid in ["", "localhost:7102", "7102", "OFF"] {
            assert!(parse(invalid).unwrap_err().contains("or off"), "{invalid}");
        }
    }
}
