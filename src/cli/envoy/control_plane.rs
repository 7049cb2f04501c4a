//! How the Envoy of a bootstrap reaches headcount: the address, TLS and the token.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

use crate::{cli::args::server_url::ServerUrl, model::Invalid};

/// What the Envoy uses to prove its identity and to verify the server's. All paths are absolute: an Envoy
/// resolves others against its own working directory.
#[derive(Debug, Default)]
pub(super) struct Security {
    pub(super) tls: Option<Tls>,
    /// File with the token.
    pub(super) token: Option<PathBuf>,
}

/// TLS of an `https://` server.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) ca: PathBuf,
    /// The certificate and its private key.
    pub(super) identity: Option<[PathBuf; 2]>,
    /// The name that the server's certificate must have.
    pub(super) server_name: Host,
}

/// The address of the server, valid for an Envoy cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ControlPlane {
    pub(super) host: Host,
    /// 1 to 65535.
    pub(super) port: u16,
}

/// An IP address makes a `STATIC` cluster, a name a `LOGICAL_DNS` one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    Name(String),
}

impl ControlPlane {
    /// Converts a URL. Envoy accepts fewer hosts than the syntax of URLs.
    pub(super) fn from_url(url: &ServerUrl) -> Result<Self, Invalid> {
        let invalid = |rule: &str| Invalid::new("control-plane", format!("\"{url}\": {rule}"));
        if url.port() == 0 {
            return Err(invalid("the port must be between 1 and 65535"));
        }
        let host = match url.host().strip_prefix('[') {
            Some(bracketed) => {
                let address: Ipv6Addr = bracketed
                    .trim_end_matches(']')
                    .parse()
                    .map_err(|_| invalid("the host in brackets must be an IPv6 address without a zone"))?;
                Host::Address(address.into())
            }
            None => url.host().parse().map_or_else(|_| Host::Name(url.host().to_owned()), Host::Address),
        };
        if matches!(&host, Host::Name(name) if !is_name(name)) {
            return Err(invalid(
                "the host must be an IP address or a name of letters, digits, '-', '_' and '.'",
            ));
        }
        Ok(Self { host, port: url.port() })
    }
}

/// Whether `text` may be a host name. Underscores are allowed although RFC 1123 excludes them: names of
/// Docker Compose have them.
fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<ControlPlane, Invalid> {
        ControlPlane::from_url(&url.parse().unwrap())
    }

    #[test]
    fn ip_addresses_are_distinguished_from_names() {
        for (url, host, port) in [
            ("127.0.0.1", Host::Address([127, 0, 0, 1].into()), 7100),
            ("http://[::1]:80", Host::Address(Ipv6Addr::LOCALHOST.into()), 80),
            ("headcount.mesh.svc:7100", Host::Name("headcount.mesh.svc".into()), 7100),
            ("head_count", Host::Name("head_count".into()), 7100),
            ("1.2.3.4.5:1", Host::Name("1.2.3.4.5".into()), 1),
        ] {
            assert_eq!(parse(url), Ok(ControlPlane { host, port }), "{url}");
        }
    }

    #[test]
    fn a_host_that_envoy_can_not_use_is_rejected() {
        let long = "a".repeat(254);
        for (url, rule) in [
            ("127.0.0.1:0", "the port must be"),
            ("[::g]:7100", "an IPv6 address"),
            ("a!b:7100", "a name of letters"),
            (&long, "a name of letters"),
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.starts_with("control-plane: \"http://") && error.contains(rule), "{url}: {error}");
        }
    }
}
