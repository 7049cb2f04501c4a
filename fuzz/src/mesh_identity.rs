//! A `MeshIdentity` is rejected with short and printable violations, or it survives its message and its record,
//! gives only valid SPIFFE IDs, and gives dataplanes that differ in their workload one ID unless it depends on
//! the workload.

use std::{collections::BTreeMap, time::UNIX_EPOCH};

use headcount::{
    convert::{
        MeshIdentityDocument, mesh_identity_from_proto, mesh_identity_from_store, mesh_identity_message,
        mesh_identity_to_store,
    },
    identity::{MeshIdentityRecord, Unidentified},
    model::{Dataplane, DataplaneLimits, DataplaneSpec, Environment},
};
use prost::Message as _;
use serde_json::Value;

/// Longest text of all violations, in bytes.
const LONGEST_ERROR: usize = 8_192;

/// Input: a document as JSON.
///
/// # Panics
///
/// If the property does not hold.
pub fn check(input: &[u8]) {
    let Ok(document) = serde_json::from_slice::<Value>(input) else { return };
    let document = match MeshIdentityDocument::parse(&document) {
        Ok(document) => document,
        Err(violations) => {
            let text = violations.to_string();
            assert!(!violations.0.is_empty());
            assert!(text.len() <= LONGEST_ERROR, "{} bytes: {text:.300}", text.len());
            for violation in &violations.0 {
                let text = violation.to_string();
                assert!(!text.contains(char::is_control), "a control character in {text:?}");
            }
            return;
        }
    };
    check_copies(&document);
    for environment in [Environment::Universal, Environment::Kubernetes] {
        check_ids(&document, environment);
    }
}

fn check_copies(document: &MeshIdentityDocument) {
    // A message that is nested too deep is rejected.
    if let Ok(copy) = mesh_identity_from_proto(&mesh_identity_message(document)) {
        assert_eq!(copy.identity, document.identity);
    }
    let record = MeshIdentityRecord {
        identity: document.identity.clone(),
        spec: document.spec.clone(),
        uid: "6f0d8a1e-93a4-4d5f-8c39-51f1f3f4b0a2".parse().expect("a uid"),
        creation_time: UNIX_EPOCH,
        generation: 1,
        revision: 1,
    };
    let stored = mesh_identity_to_store(&record).encode_to_vec();
    assert_eq!(mesh_identity_from_store(&document.identity.key, &stored, 1).as_ref(), Ok(&record));
}

fn check_ids(document: &MeshIdentityDocument, environment: Environment) {
    let identity = &document.identity;
    let [one, other, none] = [Some("one"), Some("other"), None].map(|workload| {
        identity.identify(&dataplane(identity.mesh.as_str(), environment, workload)).map(|id| id.to_string())
    });
    for id in [&one, &other, &none].into_iter().flatten() {
        assert!(is_spiffe_id(id), "{id}");
    }
    for problem in [&one, &other, &none].into_iter().filter_map(|id| id.as_ref().err()) {
        let text = problem.to_string();
        assert!(text.len() <= LONGEST_ERROR && !text.contains(char::is_control), "{text:?}");
    }
    if identity.uses_workload(environment) {
        let refused = matches!(none, Err(Unidentified::NoWorkload { .. }));
        assert!(refused, "a dataplane without a workload has {none:?}");
    } else {
        assert_eq!((&one, &other), (&none, &none));
    }
}

fn dataplane(mesh: &str, environment: Environment, workload: Option<&str>) -> Dataplane {
    let mut labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    labels.insert("k8s.kuma.io/service-account".to_owned(), "web".to_owned());
    labels.extend(workload.map(|name| ("kuma.io/workload".to_owned(), name.to_owned())));
    let spec = DataplaneSpec {
        mesh: mesh.to_owned(),
        namespace: "shop".to_owned(),
        name: "web-1".to_owned(),
        environment,
        labels,
        ..DataplaneSpec::default()
    };
    Dataplane::parse(&spec, DataplaneLimits::PROTOCOL).expect("a dataplane")
}

/// The rules of the SPIFFE standard.
fn is_spiffe_id(id: &str) -> bool {
    let Some(rest) = id.strip_prefix("spiffe://") else { return false };
    let mut parts = rest.split('/');
    let domain = parts.next().unwrap_or_default();
    let in_domain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
    let in_path = |c: char| in_domain(c) || c.is_ascii_uppercase();
    let is_segment = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(in_path);
    id.len() <= 2_048 && !domain.is_empty() && domain.chars().all(in_domain) && parts.all(is_segment)
}
