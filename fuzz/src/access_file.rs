//! An access file is rejected with a short and printable message, or its rules map a SPIFFE ID only to
//! dataplanes of one mesh, by names that are in the ID or in the file.

use headcount::{
    authentication::AccessFile,
    model::{DataplaneGrant, DataplaneName, Namespace, WorkloadName},
};

/// Longest message, in bytes: it quotes at most one value.
const LONGEST_ERROR: usize = 2_048;

/// Input: a SPIFFE ID, a line feed, and the text of a file.
pub fn check(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (id, file) = (&input[..end], &input[end + 1..]);
    match AccessFile::parse(file) {
        Ok(parsed) => {
            for binding in parsed.policy.bindings() {
                assert!(!binding.users.is_empty() || !binding.groups.is_empty(), "{binding:?}");
                assert!(!binding.users.contains("") && !binding.groups.contains(""), "{binding:?}");
            }
            let (Ok(id), Ok(file)) = (str::from_utf8(id), str::from_utf8(file)) else { return };
            for grant in parsed.certificates.iter().filter_map(|rule| rule.grant(id)) {
                check_grant(id, file, &grant);
            }
        }
        Err(error) => {
            let problem = format!("{error:#}");
            assert!(!problem.is_empty());
            assert!(problem.len() <= LONGEST_ERROR, "{} bytes: {problem:.300}", problem.len());
            assert!(!problem.contains(char::is_control), "a control character in {problem:?}");
        }
    }
}

fn check_grant(id: &str, file: &str, grant: &DataplaneGrant) {
    let (trust_domain, path) =
        id.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).expect("a SPIFFE ID");
    assert!(file.contains(trust_domain), "{id} is of a trust domain that the file does not have");
    let mesh = grant.mesh.as_ref().unwrap_or_else(|| panic!("{id} may register in all meshes"));
    let names = [
        Some(mesh.as_str()),
        grant.namespace.as_ref().map(Namespace::as_str),
        grant.name.as_ref().map(DataplaneName::as_str),
        grant.workload.as_ref().map(WorkloadName::as_str),
    ];
    for name in names.into_iter().flatten() {
        let is_in_id = path.split('/').any(|segment| segment == name);
        assert!(is_in_id || file.contains(name), "{name} is neither in {id} nor in the file");
    }
}
