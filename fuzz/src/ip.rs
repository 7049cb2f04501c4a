//! A second implementation of literal IP addresses (RFC 4291, RFC 6943), without a library: an Envoy
//! that is sent anything else as an address crashes.

pub fn is_literal(text: &str) -> bool {
    is_v4(text) || is_v6(text)
}

fn is_v4(text: &str) -> bool {
    let is_octet = |part: &str| {
        let canonical = part == "0" || !part.starts_with('0');
        let digits = (1..=3).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
        canonical && digits && part.parse::<u32>().is_ok_and(|octet| octet < 256)
    };
    text.split('.').count() == 4 && text.split('.').all(is_octet)
}

fn is_v6(text: &str) -> bool {
    match text.split_once("::") {
        Some((before, after)) => {
            let (before, after) = (groups(before, false), groups(after, true));
            before.zip(after).is_some_and(|(before, after)| before + after <= 7)
        }
        None => groups(text, true) == Some(8),
    }
}

/// Counts the groups of 16 bits; none if the text is malformed. Only the last two groups of an address
/// may have the form of IPv4.
fn groups(text: &str, at_end: bool) -> Option<usize> {
    if text.is_empty() {
        return Some(0);
    }
    let parts: Vec<_> = text.split(':').collect();
    let (last, others) = parts.split_last()?;
    let is_group = |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_hexdigit());
    if !others.iter().all(|part| is_group(part)) {
        return None;
    }
    match last {
        last if is_group(last) => Some(parts.len()),
        last if at_end && is_v4(last) => Some(parts.len() + 1),
        _ => None,
    }
}
