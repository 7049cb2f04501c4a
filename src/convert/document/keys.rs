//! Keys of documents that are probably misspelt.

/// The keys that one map of a document may have.
pub(crate) type Keys = [&'static str];

/// Lowest similarity of a key and the one that was probably meant.
const SIMILAR: f64 = 0.8;

/// The warning about a key that a resource of this kind does not have.
pub(crate) fn unknown(kind: &str, key: &str, known: &Keys) -> String {
    let similarity = |other: &&str| strsim::jaro(&key.to_lowercase(), &other.to_lowercase());
    // jaro takes quadratic time.
    let candidates = known.iter().copied().filter(|_| key.len() <= 63);
    let meant = candidates.max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    match meant.filter(|other| similarity(other) >= SIMILAR) {
        Some(meant) => format!("is not a key of Kuma's {kind} and is ignored: did you mean {meant}?"),
        None => format!("is not a key of Kuma's {kind} and is ignored"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_gets_a_suggestion() {
        let (probe, networking) = (&["serviceProbe", "servicePort"], &["address", "inbound", "outbound"]);
        for (key, known, meant) in [
            ("serviceProb", &probe[..], "did you mean serviceProbe?"),
            ("service_port", probe, "did you mean servicePort?"),
            ("inbounds", networking, "did you mean inbound?"),
            ("adres", networking, "did you mean address?"),
            ("Name", &["type", "name"], "did you mean name?"),
            ("xyz", networking, "Kuma's Dataplane and is ignored"),
        ] {
            let warning = unknown("Dataplane", key, known);
            assert!(warning.ends_with(meant), "{key}: {warning}");
        }
    }
}
