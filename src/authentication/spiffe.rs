//! Rules that map the SPIFFE ID of a client certificate to the dataplanes that it may register.

use crate::model::{
    DataplaneGrant, DataplaneName, Invalid, MeshName, Namespace, Proof, Quoted, WorkloadName,
};

const SCHEME: &str = "spiffe://";
/// The longest SPIFFE ID in bytes, by the SPIFFE standard.
const MAX_BYTES: usize = 2_048;

/// A rule: a pattern of SPIFFE IDs, and restrictions that do not depend on the ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpiffeRule {
    trust_domain: String,
    segments: Vec<Segment>,
    fixed: DataplaneGrant,
}

/// A segment of a pattern's path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Placeholder(Part),
}

/// The part of a dataplane that a segment names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Mesh,
    Namespace,
    Name,
    Workload,
}

/// The restrictions of a rule that do not depend on the SPIFFE ID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fixed {
    /// The mesh.
    pub mesh: Option<MeshName>,
    /// The namespace.
    pub namespace: Option<Namespace>,
    /// The workload.
    pub workload: Option<WorkloadName>,
}

impl SpiffeRule {
    /// Parses a pattern such as `spiffe://example.com/ns/{namespace}/dataplane/{name}`. A
    /// placeholder is a whole segment.
    ///
    /// # Errors
    ///
    /// If the pattern is no SPIFFE ID, a placeholder is unknown or restricts what `fixed` restricts
    /// as well, or the rule restricts no mesh.
    pub fn parse(field: &str, pattern: &str, fixed: Fixed) -> Result<Self, Invalid> {
        let invalid = |problem: String| Invalid::new(field, problem);
        let (trust_domain, path) = split(pattern).map_err(|problem| invalid(problem.to_owned()))?;
        let segments: Vec<_> = path.map(Segment::parse).collect::<Result<_, _>>().map_err(invalid)?;
        let parts: Vec<_> = segments.iter().filter_map(Segment::placeholder).collect();
        for (at, part) in parts.iter().enumerate() {
            if parts[..at].contains(part) || fixed.restricts(*part) {
                return Err(invalid(format!("{{{}}}: is restricted twice: remove one", part.as_str())));
            }
        }
        if !parts.contains(&Part::Mesh) && fixed.mesh.is_none() {
            return Err(invalid("would allow all meshes: set mesh, or add a segment {mesh}".into()));
        }
        let Fixed { mesh, namespace, workload } = fixed;
        let fixed =
            DataplaneGrant { mesh, namespace, workload, ..DataplaneGrant::unrestricted(Proof::Certificate) };
        Ok(Self { trust_domain: trust_domain.to_owned(), segments, fixed })
    }

    /// The dataplanes that the holder of a SPIFFE ID may register; none if the rule does not match.
    pub fn grant(&self, id: &str) -> Option<DataplaneGrant> {
        let (trust_domain, path) = split(id).ok()?;
        let path: Vec<_> = path.collect();
        if trust_domain != self.trust_domain || path.len() != self.segments.len() {
            return None;
        }
        let mut grant = self.fixed.clone();
        for (pattern, segment) in self.segments.iter().zip(path) {
            match pattern {
                Segment::Literal(literal) if literal == segment => {}
                Segment::Literal(_) => return None,
                Segment::Placeholder(part) => part.restrict(&mut grant, segment).ok()?,
            }
        }
        Some(grant)
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(name) => {
                let part = Part::ALL.into_iter().find(|part| part.as_str() == name);
                let unknown = || {
                    format!(
                        "{}: is unknown: use {{mesh}}, {{namespace}}, {{name}} or {{workload}}",
                        Quoted(text)
                    )
                };
                Ok(Self::Placeholder(part.ok_or_else(unknown)?))
            }
            None if text.contains(['{', '}']) => {
                Err(format!("{}: a placeholder must be a whole segment", Quoted(text)))
            }
            None => Ok(Self::Literal(text.to_owned())),
        }
    }

    fn placeholder(&self) -> Option<Part> {
        match self {
            Self::Literal(_) => None,
            Self::Placeholder(part) => Some(*part),
        }
    }
}

impl Part {
    const ALL: [Self; 4] = [Self::Mesh, Self::Namespace, Self::Name, Self::Workload];

    fn as_str(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::Namespace => "namespace",
            Self::Name => "name",
            Self::Workload => "workload",
        }
    }

    fn restrict(self, grant: &mut DataplaneGrant, text: &str) -> Result<(), Invalid> {
        let field = self.as_str();
        match self {
            Self::Mesh => grant.mesh = Some(MeshName::parse(field, text)?),
            Self::Namespace => grant.namespace = Some(Namespace::parse(field, text)?),
            Self::Name => grant.name = Some(DataplaneName::parse(field, text)?),
            Self::Workload => grant.workload = Some(WorkloadName::parse_universal(field, text)?),
        }
        Ok(())
    }
}

impl Fixed {
    fn restricts(&self, part: Part) -> bool {
        match part {
            Part::Mesh => self.mesh.is_some(),
            Part::Namespace => self.namespace.is_some(),
            Part::Name => false,
            Part::Workload => self.workload.is_some(),
        }
    }
}

/// Splits a SPIFFE ID into its trust domain and the segments of its path.
fn split(id: &str) -> Result<(&str, impl Iterator<Item = &str>), &'static str> {
    let rest = id.strip_prefix(SCHEME).ok_or("must begin with spiffe://")?;
    let (trust_domain, path) = rest.split_once('/').ok_or("must have a path after the trust domain")?;
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    if trust_domain.is_empty() || !trust_domain.bytes().all(valid) {
        return Err(
            "the trust domain must consist of lower case letters, digits, dots, dashes and underscores",
        );
    }
    let bad = |segment: &str| segment.is_empty() || segment == "." || segment == "..";
    if id.len() > MAX_BYTES || path.split('/').any(bad) {
        return Err(
            "the path must consist of segments that are not empty, `.` or `..`, and has at most 2,048 bytes",
        );
    }
    Ok((trust_domain, path.split('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh() -> Fixed {
        Fixed { mesh: MeshName::parse("mesh", "default").ok(), ..Fixed::default() }
    }

    fn rule(pattern: &str, fixed: Fixed) -> Result<SpiffeRule, String> {
        SpiffeRule::parse("spiffeId", pattern, fixed).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn placeholders_restrict_the_dataplane() {
        let rule = rule("spiffe://example.com/ns/{namespace}/dp/{name}/{workload}", mesh()).unwrap();
        let grant = rule.grant("spiffe://example.com/ns/shop/dp/web-1/web").unwrap();
        assert_eq!(grant.to_string(), "default/shop/web-1 of workload web");
        assert_eq!(grant.proof, Proof::Certificate);
        for other in [
            "spiffe://example.org/ns/shop/dp/web-1/web",
            "spiffe://example.com/ns/shop/dp/web-1",
            "spiffe://example.com/ns/shop/dp/web-1/web/",
            "spiffe://example.com/ns/shop/dataplane/web-1/web",
            "spiffe://example.com/ns/Shop/dp/web-1/web",
            "spiffe://example.com/ns//dp/web-1/web",
            "spiffe://example.com/ns/../dp/web-1/web",
            "https://example.com/ns/shop/dp/web-1/web",
        ] {
            assert_eq!(rule.grant(other), None, "{other}");
        }
    }

    #[test]
    fn errors_name_the_rule_and_the_remedy() {
        for (pattern, fixed, problem) in [
            ("https://example.com/{name}", mesh(), "must begin with spiffe://"),
            ("spiffe://example.com", mesh(), "must have a path"),
            ("spiffe://Example.com/{name}", mesh(), "the trust domain must consist of"),
            ("spiffe://example.com/a//{name}", mesh(), "segments that are not empty"),
            ("spiffe://example.com/dp-{name}", mesh(), "must be a whole segment"),
            ("spiffe://example.com/{nam}", mesh(), "\"{nam}\": is unknown"),
            ("spiffe://example.com/{name}/{name}", mesh(), "{name}: is restricted twice"),
            ("spiffe://example.com/{mesh}/{name}", mesh(), "{mesh}: is restricted twice"),
            ("spiffe://example.com/{name}", Fixed::default(), "would allow all meshes"),
        ] {
            let error = rule(pattern, fixed).unwrap_err();
            assert!(error.starts_with("spiffeId: ") && error.contains(problem), "{pattern}: {error}");
        }
    }
}
