//! Where headcount is, as an Envoy finds it.

use std::net::{IpAddr, Ipv6Addr};

use crate::{cli::server_url::ServerUrl, model::Invalid};

/// A server's address that an Envoy takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ControlPlane {
    pub(super) host: Host,
    /// Never 0.
    pub(super) port: u16,
}

/// A literal address needs no resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    Name(String),
}

impl ControlPlane {
    /// From a URL, which may say more than an Envoy takes.
    pub(super) fn from_url(url: &ServerUrl) -> Result<Self, Invalid> {
        let wrong = |rule: &str| Invalid::new("control-plane", format!("\"{url}\": {rule}"));
        if url.port() == 0 {
            return Err(wrong("the port must be between 1 and 65535"));
        }
        let host = match url.host().strip_prefix('[') {
            Some(bracketed) => {
                let address: Ipv6Addr = bracketed.trim_end_matches(']').parse().map_err(|_| {
                    wrong("what is in brackets must be an IPv6 address, without a zone: an Envoy takes no others")
                })?;
                Host::Address(address.into())
            }
            None => url.host().parse().map_or_else(|_| Host::Name(url.host().to_owned()), Host::Address),
        };
        if matches!(&host, Host::Name(name) if !is_name(name)) {
            return Err(wrong(
                "the host must be an IP address or a name of letters, digits, '-', '_' and '.'",
            ));
        }
        Ok(Self { host, port: url.port() })
    }
}

/// Underscores are not the hosts' (RFC 1123), and yet names in Docker have them.
fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<ControlPlane, Invalid> {
        ControlPlane::from_url(&url.parse().unwrap())
    }

    #[test]
    fn literals_are_told_from_names() {
        for (url, host, port) in [
            ("127.0.0.1", Host::Address([127, 0, 0, 1].into()), 7100),
            ("http://[::1]:80", Host::Address(Ipv6Addr::LOCALHOST.into()), 80),
            ("headcount.mesh.svc:7100", Host::Name("headcount.mesh.svc".into()), 7100),
            ("head_count", Host::Name("head_count".into()), 7100),
            ("1.2.3.4.5:1", Host::Name("1.2.3.4.5".into()), 1),
        ] {
            assert_eq!(read(url), Ok(ControlPlane { host, port }), "{url}");
        }
    }

    #[test]
    fn what_no_envoy_could_connect_to_is_refused() {
        let long = "a".repeat(254);
        for (url, rule) in [
            ("127.0.0.1:0", "the port must be"),
            ("[::g]:7100", "an IPv6 address"),
            ("a!b:7100", "a name of letters"),
            (&long, "a name of letters"),
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.starts_with("control-plane: \"http://") && error.contains(rule), "{url}: {error}");
        }
    }
}
