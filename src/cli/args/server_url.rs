//! Addresses of servers, in the forms that people type.

use std::{fmt, net::IpAddr, str::FromStr};

use http::{Uri, uri::Scheme};

/// Default port of `headcount serve --grpc-addr`.
const GRPC: u16 = 7100;
/// Default port of `headcount serve --kube-api-addr`.
const KUBE: u16 = 7102;

/// The URL of a server: `http://host:port` or `https://host:port`, where `PORT` is the default port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct ServerUrl<const PORT: u16 = GRPC>(Uri);

/// The URL of the Kubernetes API.
pub(in crate::cli) type KubeUrl = ServerUrl<KUBE>;

impl<const PORT: u16> ServerUrl<PORT> {
    /// The URI, with scheme, host and port.
    pub(in crate::cli) fn uri(&self) -> Uri {
        self.0.clone()
    }

    /// The host; an IPv6 address is in brackets.
    pub(in crate::cli) fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    /// The port.
    pub(in crate::cli) fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(PORT)
    }

    /// Whether the host is this machine: `localhost` or a loopback address.
    pub(in crate::cli) fn is_loopback(&self) -> bool {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// Whether the scheme is `https`.
    pub(in crate::cli) fn is_encrypted(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }
}

impl ServerUrl {
    /// The URL of the Kubernetes API of the same server, on its default port.
    pub(in crate::cli) fn to_kube(&self) -> Option<KubeUrl> {
        format!("{}://{}", self.0.scheme_str()?, self.host()).parse().ok()
    }
}

impl Default for ServerUrl {
    fn default() -> Self {
        Self(Uri::from_static("http://127.0.0.1:7100"))
    }
}

impl Default for KubeUrl {
    fn default() -> Self {
        Self(Uri::from_static("http://127.0.0.1:7102"))
    }
}

/// Accepts `http[s]://host:port`, `host:port` and `host`.
impl<const PORT: u16> FromStr for ServerUrl<PORT> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = |problem: &str| format!("{problem}; write http[s]://HOST:PORT or HOST:PORT");
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        if !matches!(scheme, "http" | "https") {
            return Err(expected("the scheme must be http or https"));
        }
        let uri: Uri = format!("{scheme}://{rest}")
            .parse()
            .map_err(|problem| expected(&format!("is not a URL ({problem})")))?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(expected("must not have a path"));
        }
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        if uri.host().is_none_or(str::is_empty) || authority.contains('@') {
            return Err(expected("must have a host and no user"));
        }
        if uri.port_u16().is_some() {
            return Ok(Self(uri));
        }
        // The part after the brackets of an IPv6 address.
        if authority.rsplit(']').next().is_some_and(|end| end.contains(':')) {
            return Err(expected("the port must be between 0 and 65535"));
        }
        format!("{scheme}://{authority}:{PORT}").parse().map(Self).map_err(|_| expected("is not a URL"))
    }
}

impl<const PORT: u16> fmt::Display for ServerUrl<PORT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_string().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_and_port_are_optional() {
        for (text, url) in [
            ("http://127.0.0.1:7100", "http://127.0.0.1:7100"),
            ("http://example.com:80/", "http://example.com:80"),
            ("localhost:9000", "http://localhost:9000"),
            ("headcount.mesh.svc", "http://headcount.mesh.svc:7100"),
            ("[::1]:7100", "http://[::1]:7100"),
            ("[::1]", "http://[::1]:7100"),
        ] {
            assert_eq!(text.parse::<ServerUrl>().unwrap().to_string(), url);
        }
        for (text, url, encrypted) in [
            ("[::1]", "http://[::1]:7102", false),
            ("https://localhost", "https://localhost:7102", true),
            ("https://localhost:1/", "https://localhost:1", true),
        ] {
            let kube = text.parse::<KubeUrl>().unwrap();
            assert_eq!((kube.to_string().as_str(), kube.is_encrypted()), (url, encrypted));
        }
    }

    #[test]
    fn this_machine_is_recognized() {
        for (text, loopback) in [
            ("localhost", true),
            ("LOCALHOST:1", true),
            ("127.8.9.1", true),
            ("https://[::1]", true),
            ("0.0.0.0", false),
            ("10.0.0.1", false),
            ("127.0.0.1.example.com", false),
            ("localhost.example.com", false),
        ] {
            assert_eq!(text.parse::<ServerUrl>().unwrap().is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn the_kubernetes_api_has_the_host_of_the_server() {
        for (server, kube) in
            [("https://a:1", "https://a:7102"), ("[::1]:1", "http://[::1]:7102"), ("a", "http://a:7102")]
        {
            assert_eq!(server.parse::<ServerUrl>().unwrap().to_kube().unwrap().to_string(), kube);
        }
    }

    #[test]
    fn errors_show_the_expected_form() {
        for (text, problem) in [
            ("", "is not a URL"),
            ("ftp://example.com", "the scheme must be http"),
            ("http://example.com/path", "must not have a path"),
            ("http://user@example.com", "must have a host"),
            ("host:99999", "the port must be"),
            ("host:", "the port must be"),
            ("a b", "is not a URL"),
        ] {
            let error = text.parse::<ServerUrl>().unwrap_err();
            assert!(error.contains(problem) && error.contains("HOST:PORT"), "{text}: {error}");
        }
        let error = "ftp://example.com".parse::<KubeUrl>().unwrap_err();
        assert_eq!(error, "the scheme must be http or https; write http[s]://HOST:PORT or HOST:PORT");
    }
}
