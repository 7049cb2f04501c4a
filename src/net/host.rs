//! Which host a request is for.

use std::net::IpAddr;

use http::{HeaderMap, Uri, Version, header::HOST, uri::Authority};

/// Checks that a request over HTTP/1.1 has exactly one `Host`, of characters that a host may have
/// (RFC 9112, section 3.2). A proxy in front of the server may have chosen another of several.
///
/// # Errors
///
/// What is wrong.
pub(crate) fn check_one_host(version: Version, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) => Err("missing required Host header"),
        (Some(_), Some(_)) => Err("more than one Host header"),
        (Some(host), None) => {
            let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!$%&()*+,-.:;=\'[]_~".contains(byte);
            if host.as_bytes().iter().all(allowed) { Ok(()) } else { Err("malformed Host header") }
        }
    }
}

/// Checks that a request to a listener on loopback is for this machine by its own name:
/// `localhost` or a loopback address.
///
/// A web page can make a browser connect to this machine under a name of the page's own that
/// resolves to loopback, and read the response (DNS rebinding). The page can't choose another
/// `Host` for it.
///
/// # Errors
///
/// The host, if it is another one.
pub(crate) fn check_loopback_host(uri: &Uri, headers: &HeaderMap) -> Result<(), String> {
    let header = headers.get(HOST).map(|host| host.to_str().unwrap_or("?"));
    let Some(host) = uri.authority().map(Authority::as_str).or(header) else {
        return Ok(()); // HTTP/1.0, which no browser uses
    };
    let name = host.parse::<Authority>().map_err(|_| host.to_owned())?;
    let name = name.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let local =
        name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if local { Ok(()) } else { Err(host.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_valid_host_is_accepted() {
        let check = |version, hosts: &[&str]| {
            let headers = hosts.iter().map(|host| (HOST, host.parse().unwrap())).collect();
            check_one_host(version, &headers)
        };
        assert_eq!(check(Version::HTTP_11, &["[::1]:80"]), Ok(()));
        assert_eq!(check(Version::HTTP_11, &[""]), Ok(()));
        assert_eq!(check(Version::HTTP_10, &[]), Ok(()));
        for hosts in [&[][..], &["a", "a"], &["a b"], &["a/b"], &["a@b"], &["a#"]] {
            assert!(check(Version::HTTP_11, hosts).is_err(), "{hosts:?}");
        }
        assert!(check(Version::HTTP_10, &["a", "b"]).is_err());
    }

    fn check(host: &str) -> Result<(), String> {
        let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
        check_loopback_host(&Uri::from_static("/apis"), &headers)
    }

    #[test]
    fn only_names_of_this_machine_are_accepted() {
        for own in [
            "localhost",
            "LocalHost:7102",
            "localhost.",
            "127.0.0.1:7102",
            "127.3.4.5",
            "[::1]:7102",
            "[::1]",
        ] {
            assert!(check(own).is_ok(), "{own}");
        }
        for other in
            ["evil.example", "evil.example:7102", "127.0.0.1.evil.example", "10.0.0.1", "", "a b", "::1"]
        {
            assert!(check(other).is_err(), "{other}");
        }
        assert!(check_loopback_host(&Uri::from_static("/apis"), &HeaderMap::new()).is_ok());
        let absolute = Uri::from_static("http://evil.example/apis");
        let own = HeaderMap::from_iter([(HOST, "localhost".parse().unwrap())]);
        assert!(check_loopback_host(&absolute, &own).is_err());
    }
}
