//! A client certificate names one holder, or none: the one that a second implementation finds in what the
//! certificate was made of. Its SPIFFE ID is mapped to the dataplanes of the first rule that matches.

mod der;

use headcount::{
    authentication::{AccessFile, Fixed, Holder, SpiffeRule, Subject},
    model::{DataplaneGrant, DataplaneName, MeshName, Namespace, Principal, Proof, WorkloadName},
};

use self::der::Parts;
use super::rules::{is_dns_1035_label, is_dns_1123_label, is_dns_1123_subdomain};

/// The longest text of an error, in bytes: it quotes a URI of the certificate.
const LONGEST: usize = 4_096;

/// Input: a certificate in DER, or lines that say what to make one of: `rule PATTERN`, `uri URI`,
/// `dns NAME`, `cn NAME`, `o NAME`, and `san` for a second extension with the names after it.
pub fn check(input: &[u8]) {
    if input.first() == Some(&0x30) {
        check_der(input);
    } else if let Ok(text) = str::from_utf8(input) {
        let (mut rules, mut parts) = (Vec::new(), Parts::default());
        for line in text.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("rule", pattern) => rules.extend(rule(pattern)),
                (kind, value) => parts.add(kind, value),
            }
        }
        check_made(&rules, &parts);
    }
}

/// The rule for a pattern; a fixed mesh `default` if it has none.
fn rule(pattern: &str) -> Option<(String, SpiffeRule)> {
    let mesh = if pattern.split('/').any(|part| part == "{mesh}") { None } else { Some("default") };
    let mesh = mesh.map(|mesh| MeshName::parse("", mesh).expect("a name"));
    let rule = SpiffeRule::parse("", pattern, Fixed { mesh, ..Fixed::default() }).ok()?;
    Some((pattern.to_owned(), rule))
}

/// Nothing is known of the certificate: its holder has a name, and errors are short and printable.
fn check_der(der: &[u8]) {
    match Holder::of(&der.into()) {
        Ok(Holder { subject: Subject::Spiffe(id), .. }) => assert!(id.starts_with("spiffe://"), "{id}"),
        Ok(Holder { subject: Subject::User(user), .. }) => {
            assert!(!user.name.is_empty() && user.groups.len() <= 64);
        }
        Err(error) => assert!(error.to_string().len() <= LONGEST),
    }
}

fn check_made(rules: &[(String, SpiffeRule)], parts: &Parts) {
    let holder = Holder::of(&parts.certificate().into());
    let expected = parts.subject();
    let Ok(holder) = holder else {
        assert_eq!(expected, None, "{holder:?}");
        return;
    };
    assert_eq!(Some(&holder.subject), expected.as_ref());
    let file = AccessFile {
        certificates: rules.iter().map(|(_, rule)| rule.clone()).collect(),
        ..AccessFile::default()
    };
    match (file.principal(&holder.subject), &holder.subject) {
        (Ok(Principal::User(user)), Subject::User(of)) => assert_eq!(user, *of),
        (Ok(Principal::Dataplane(grant)), Subject::Spiffe(id)) => {
            assert_eq!(Some(names(&grant)), rules.iter().find_map(|(pattern, _)| mapped(pattern, id)));
        }
        (Err(error), Subject::Spiffe(id)) => {
            let error = error.to_string();
            assert!(error.len() <= LONGEST && !error.contains(char::is_control), "{error:?}");
            assert_eq!(rules.iter().find_map(|(pattern, _)| mapped(pattern, id)), None, "{error}");
        }
        other => panic!("{other:?}"),
    }
}

/// Mesh, namespace, name and workload; empty if they are not restricted.
type Names = [String; 4];

fn names(grant: &DataplaneGrant) -> Names {
    assert!(grant.proof == Proof::Certificate && grant.tags.is_empty());
    [
        grant.mesh.as_ref().map(MeshName::as_str),
        grant.namespace.as_ref().map(Namespace::as_str),
        grant.name.as_ref().map(DataplaneName::as_str),
        grant.workload.as_ref().map(WorkloadName::as_str),
    ]
    .map(|name| name.unwrap_or_default().to_owned())
}

/// What a valid pattern maps an ID to; none if it does not match.
fn mapped(pattern: &str, id: &str) -> Option<Names> {
    let (pattern, parts): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), id.split('/').collect());
    if id.len() > 2_048 || pattern.len() != parts.len() {
        return None;
    }
    let mut names = ["default", "", "", ""].map(str::to_owned);
    for (pattern, part) in pattern.iter().zip(&parts).skip(3) {
        let (at, is_name): (usize, fn(&str) -> bool) = match *pattern {
            "{mesh}" => (0, is_dns_1123_label),
            "{namespace}" => (1, is_dns_1123_label),
            "{name}" => (2, is_dns_1123_subdomain),
            "{workload}" => (3, is_dns_1035_label),
            literal if literal == *part => continue,
            _ => return None,
        };
        if matches!(*part, "." | "..") || !is_name(part) {
            return None;
        }
        (*part).clone_into(&mut names[at]);
    }
    (pattern[..3] == parts[..3]).then_some(names)
}
