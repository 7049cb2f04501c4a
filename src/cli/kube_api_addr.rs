//! Where the Kubernetes API may listen.

use std::{net::SocketAddr, str::FromStr};

/// An address of this machine's own, or none.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct KubeApiAddr(pub(super) Option<SocketAddr>);

impl FromStr for KubeApiAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let addr: SocketAddr = text
            .parse()
            .map_err(|_| "must be an address with a port, such as 127.0.0.1:7102, or off".to_owned())?;
        if !addr.ip().is_loopback() {
            return Err(format!(
                "other machines could reach it, and it has neither TLS nor authentication: listen on 127.0.0.1:{0}, \
                 and let others come through `ssh -L {0}:127.0.0.1:{0}` or `kubectl port-forward`",
                addr.port()
            ));
        }
        Ok(Self(Some(addr)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_be_served() {
        let parse = str::parse::<KubeApiAddr>;
        for good in ["127.0.0.1:7102", "127.9.9.9:0", "[::1]:7102"] {
            assert_eq!(parse(good).unwrap(), KubeApiAddr(Some(good.parse().unwrap())));
        }
        assert_eq!(parse("off").unwrap(), KubeApiAddr(None));
        for open in ["0.0.0.0:1", "[::]:7102", "192.168.1.1:7102", "[::ffff:127.0.0.1]:1"] {
            let problem = parse(open).unwrap_err();
            assert!(
                problem.contains("neither TLS nor authentication") && problem.contains("ssh -L"),
                "{problem}"
            );
        }
        for none in ["", "localhost:7102", "7102", "OFF"] {
            assert!(parse(none).unwrap_err().contains("or off"), "{none}");
        }
    }
}
