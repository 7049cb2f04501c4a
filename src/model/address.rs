//! The rule for addresses: an IP address or a DNS name.

use std::net::{IpAddr, Ipv6Addr};

use super::{Invalid, name::Quoted, placeholder::unfilled};

/// Bytes of the longest DNS name.
const MAX_NAME: usize = 253;
/// Bytes of the longest label of a DNS name.
const MAX_LABEL: usize = 63;

/// Checks that a text is an IP address or a DNS name, without a port.
///
/// Underscores are allowed in names although RFC 1123 excludes them: Docker Compose uses them,
/// and Kuma accepts them.
///
/// # Errors
///
/// [`Invalid`] with the field, the rule, and what to write instead.
pub(crate) fn check_address(field: &str, text: &str) -> Result<(), Invalid> {
    if text.parse::<IpAddr>().is_ok() || is_dns_name(text) {
        return Ok(());
    }
    let problem = unfilled(text).unwrap_or_else(|| {
        let rule = format!("{}: must be an IP address or a DNS name", Quoted(text));
        match remedy(text) {
            Some(remedy) => format!("{rule}; {remedy}"),
            None => rule,
        }
    });
    Err(Invalid::new(field, problem))
}

/// What to write instead of a text that is nearly an address.
fn remedy(text: &str) -> Option<String> {
    if text.contains("://") {
        return Some("write the host alone, without a scheme".to_owned());
    }
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        let port = if rest.starts_with(':') { " and the port in a key of its own" } else { "" };
        let is_address = address.parse::<Ipv6Addr>().is_ok();
        return is_address.then(|| format!("write {address} without brackets{port}"));
    }
    if let Some((address, _)) = text.split_once('/') {
        return address
            .parse::<IpAddr>()
            .is_ok()
            .then(|| format!("write {address}, without a prefix length"));
    }
    if let Some((address, _)) = text.split_once('%') {
        return address.parse::<Ipv6Addr>().is_ok().then(|| format!("write {address}, without a zone"));
    }
    let (host, port) = text.rsplit_once(':')?;
    let has_port = !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
    // Only a valid host is printed as it is.
    (has_port && check_address("", host).is_ok())
        .then(|| format!("write {host}, and the port in a key of its own"))
}

fn is_dns_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    // A name whose last label is a number would be a mistyped IPv4 address (RFC 3696, section 2).
    let is_number = |label: &str| label.bytes().all(|c| c.is_ascii_digit());
    text.len() <= MAX_NAME
        && text.split('.').all(is_label)
        && text.rsplit('.').next().is_some_and(|last| !is_number(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_repeats_no_invalid_text() {
        for text in ["8 \0:80", "a\nb:80", "-:80", ":80", "a:b:80"] {
            let problem = check_address("address", text).unwrap_err().to_string();
            assert!(!problem.contains("write") && !problem.contains(char::is_control), "{problem}");
        }
    }

    #[test]
    fn ip_addresses_and_dns_names_are_accepted() {
        let longest = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        for good in [
            "10.0.0.1",
            "::1",
            "2001:db8::7",
            "localhost",
            "web.shop.svc.",
            "head_count",
            "1.2.3.4.nip.io",
            &longest,
        ] {
            assert_eq!(check_address("address", good), Ok(()), "{good}");
        }
    }

    #[test]
    fn other_texts_are_rejected_with_what_to_write_instead() {
        for (bad, expected) in [
            ("{{ host_ip }}", "the placeholder \"{{ host_ip }}\" was not filled in"),
            ("$(POD_IP)", "the placeholder \"$(POD_IP)\" was not filled in"),
            ("127.0.0.1:8080", "; write 127.0.0.1, and the port in a key of its own"),
            ("web:80", "; write web, and the port in a key of its own"),
            ("[::1]", "; write ::1 without brackets"),
            ("[::1]:80", "; write ::1 without brackets and the port in a key of its own"),
            ("http://web", "; write the host alone, without a scheme"),
            ("10.0.0.1/32", "; write 10.0.0.1, without a prefix length"),
            ("fe80::1%eth0", "; write fe80::1, without a zone"),
            ("10.0.0.256", "\"10.0.0.256\": must be an IP address or a DNS name"),
            ("10.0.0", "must be an IP"),
            ("a b", "must be an IP"),
            ("-a", "must be an IP"),
            ("a..b", "must be an IP"),
            ("", "must be an IP"),
            (":80", "must be an IP"),
            ("a\tb", "must be an IP"),
            (&"a".repeat(64), "must be an IP"),
        ] {
            let error = check_address("address", bad).unwrap_err().to_string();
            assert!(error.starts_with("address: ") && error.contains(expected), "{bad}: {error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }
}
