//! Labels that Kuma's control plane computes. A dataplane may state them only as the control
//! plane would: otherwise selectors would match what the dataplane claims to be.

use super::{DataplaneKey, Environment};
use crate::model::{
    ENVIRONMENT_LABEL, Invalid, Labels, MESH_LABEL, NAMESPACE_LABEL, SERVICE_ACCOUNT_LABEL, WORKLOAD_LABEL,
    ZONE_LABEL, ZoneName, entry, label::DISPLAY_NAME_LABEL, label::ORIGIN_LABEL, name::Quoted,
};

/// Keys of Kuma's labels and tags that a dataplane may have, for suggestions.
const KUMA_LABELS: [&str; 11] = [
    WORKLOAD_LABEL,
    MESH_LABEL,
    ZONE_LABEL,
    ENVIRONMENT_LABEL,
    NAMESPACE_LABEL,
    SERVICE_ACCOUNT_LABEL,
    DISPLAY_NAME_LABEL,
    ORIGIN_LABEL,
    "kuma.io/service",
    "kuma.io/protocol",
    "kuma.io/managed-by",
];
/// Most edits between a misspelt key and the one that was meant.
const MAX_EDITS: usize = 2;

/// Rejects labels that contradict the dataplane. An empty value counts as absent.
pub(super) fn check_owned(
    labels: &Labels,
    key: &DataplaneKey,
    zone: Option<&ZoneName>,
    environment: Environment,
) -> Result<(), Invalid> {
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    // On Kubernetes Kuma's core appends the namespace to a name.
    let short_name = name.strip_suffix(namespace).and_then(|rest| rest.strip_suffix('.')).unwrap_or(name);
    let display_name = if labels.get(DISPLAY_NAME_LABEL) == Some(short_name) { short_name } else { name };
    for (label, of, value) in [
        (MESH_LABEL, "mesh", Some(key.mesh.as_str())),
        (NAMESPACE_LABEL, "namespace", Some(namespace)),
        (ZONE_LABEL, "zone", zone.map(ZoneName::as_str)),
        (ENVIRONMENT_LABEL, "environment", Some(environment.as_str())),
        (DISPLAY_NAME_LABEL, "name", Some(display_name)),
        // A dataplane is always created in a zone, never in the global control plane.
        (ORIGIN_LABEL, "origin", Some("zone")),
    ] {
        let stated = labels.get(label).filter(|stated| !stated.is_empty());
        if let (Some(stated), Some(value)) = (stated, value)
            && stated != value
        {
            let problem = format!(
                "{}: contradicts the {of} of the dataplane, {value:?}: the control plane sets this label, leave it out",
                Quoted(stated)
            );
            return Err(Invalid::new(entry("labels", label), problem));
        }
    }
    Ok(())
}

/// The label of Kuma that a key is probably meant to be, if it is not one.
pub(super) fn meant_label(key: &str) -> Option<&'static str> {
    if KUMA_LABELS.contains(&key) || !key.contains("kuma") {
        return None;
    }
    let edits = |label: &&str| strsim::damerau_levenshtein(key, label);
    KUMA_LABELS.into_iter().min_by_key(edits).filter(|label| edits(label) <= MAX_EDITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_label_of_kuma_gets_a_suggestion() {
        for (key, expected) in [
            ("kuma.io/worklaod", Some(WORKLOAD_LABEL)),
            ("kuma.io/workloads", Some(WORKLOAD_LABEL)),
            ("kuma.io/zones", Some(ZONE_LABEL)),
            ("k8s.kuma.io/namespaces", Some(NAMESPACE_LABEL)),
            ("kuma.io/workload", None),
            ("kuma.io/sidecar-injection", None),
            ("kuma.io/effect", None),
            ("app", None),
        ] {
            assert_eq!(meant_label(key), expected, "{key}");
        }
    }
}
