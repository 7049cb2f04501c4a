//! The notation of a port and its probe, `PORT[=PROBE]`.

use std::str::FromStr;

use crate::{agent::probe::ProbeHandler, model::Quoted};

/// A port of the Pod's application, and its probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodInbound {
    /// 1 to 65535.
    pub port: u16,
    /// None for a port that has the state of the proxy.
    pub handler: Option<ProbeHandler>,
}

impl FromStr for PodInbound {
    type Err = String;

    /// Parses `PORT` or `PORT=PROBE`. The probe is `tcp` (the default), `none`, or the path of an HTTP GET.
    fn from_str(text: &str) -> Result<Self, String> {
        let (port, probe) = text.split_once('=').unwrap_or((text, "tcp"));
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            "must be a port (1 to 65535), optionally with its probe: 8080, 8080=/healthz or 8080=none"
                .to_owned()
        })?;
        let handler = match probe {
            "tcp" => Some(ProbeHandler::Tcp),
            "none" => None,
            path if path.starts_with('/') => Some(ProbeHandler::http(path)?),
            other => {
                let other = Quoted(other);
                return Err(format!("{other}: a probe is tcp, none, or the path of a GET such as /healthz"));
            }
        };
        Ok(Self { port, handler })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_may_have_a_probe() {
        let parse = |text: &str| text.parse::<PodInbound>().unwrap();
        assert_eq!(parse("8080"), PodInbound { port: 8080, handler: Some(ProbeHandler::Tcp) });
        assert_eq!(parse("8080=tcp"), parse("8080"));
        assert_eq!(parse("1=none"), PodInbound { port: 1, handler: None });
        for path in ["/", "/healthz", "/a/b?full=1&x=none"] {
            let Some(ProbeHandler::Http(parsed)) = parse(&format!("65535={path}")).handler else {
                panic!("{path}")
            };
            assert_eq!(parsed.as_str(), path);
        }
    }

    #[test]
    fn an_invalid_port_is_rejected_with_examples() {
        for bad in ["", "0", "65536", "-1", "http", "/healthz", "8080/tcp", "8080:80", "0=none", "=none"] {
            let problem = bad.parse::<PodInbound>().unwrap_err();
            assert!(problem.contains("8080=/healthz or 8080=none"), "{bad}: {problem}");
        }
        assert!("80=udp".parse::<PodInbound>().unwrap_err().starts_with("\"udp\": a probe is tcp, none, or"));
        assert!("80=/a b".parse::<PodInbound>().unwrap_err().contains("path of a URL"));
    }
}
