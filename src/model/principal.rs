//! Principals: the callers that the server knows, as far as they have proven it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    Dataplane, DataplaneName, Invalid, MeshName, Namespace, Quoted, SERVICE_ACCOUNT_LABEL, WORKLOAD_LABEL,
    WorkloadName,
};

/// A caller of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A caller that has proven nothing.
    Anonymous(AnonymousAccess),
    /// A dataplane proxy, or several: what its credential may be used for.
    Dataplane(DataplaneGrant),
    /// A person or a program that operates the mesh. Its roles follow from the policy.
    User(User),
    /// A user whose request kube-apiserver has authenticated and authorized (RBAC).
    ClusterUser(User),
}

/// What a caller without a credential may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnonymousAccess {
    /// Everything: the listener is on loopback without TLS, or the configuration allows it.
    Full,
    /// Only what is open to everybody, such as health checks.
    Public,
    /// As `Public`, and reads the metrics: the configuration allows it.
    PublicAndMetrics,
}

/// The user of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The groups that the user is in.
    pub groups: Vec<String>,
}

impl User {
    /// The longest name of a user or a group, in bytes.
    const MAX_BYTES: usize = 253;

    /// Parses the name of a user and those of its groups.
    ///
    /// # Errors
    ///
    /// If a name is empty, too long, has a control character, or white space at an end.
    pub fn parse(name: &str, groups: &[String]) -> Result<Self, Invalid> {
        let check = |field, text: &str| {
            let valid = !text.is_empty()
                && text.len() <= Self::MAX_BYTES
                && text.trim() == text
                && !text.chars().any(char::is_control);
            let problem = "must have 1 to 253 bytes, no control characters, and no white space at its ends";
            valid
                .then(|| text.to_owned())
                .ok_or_else(|| Invalid::new(field, format!("{}: {problem}", Quoted(text))))
        };
        let name = check("name", name)?;
        let groups = groups.iter().map(|group| check("group", group)).collect::<Result<_, _>>()?;
        Ok(Self { name, groups })
    }
}

/// The dataplanes that a credential may register. What is `None` or empty is not restricted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataplaneGrant {
    /// The kind of the credential, as messages name it.
    pub proof: Proof,
    /// The dataplane's mesh.
    pub mesh: Option<MeshName>,
    /// The dataplane's namespace.
    pub namespace: Option<Namespace>,
    /// The dataplane's name.
    pub name: Option<DataplaneName>,
    /// The workload that the dataplane must name.
    pub workload: Option<WorkloadName>,
    /// The `ServiceAccount` of the dataplane, if the dataplane names one. `MeshIdentities` give SPIFFE IDs
    /// by it.
    pub service_account: Option<String>,
    /// Labels that the dataplane must have, each with one of these values.
    pub tags: BTreeMap<String, BTreeSet<String>>,
}

/// The kind of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A dataplane token.
    Token,
    /// A client certificate.
    Certificate,
    /// A Kubernetes `ServiceAccount` token that is bound to a Pod.
    ServiceAccountToken,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Certificate => "client certificate",
            Self::ServiceAccountToken => "ServiceAccount token",
        })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous(_) => f.write_str("anonymous"),
            Self::Dataplane(grant) => write!(f, "dataplane {grant}"),
            Self::User(user) | Self::ClusterUser(user) => write!(f, "user {}", Quoted(&user.name)),
        }
    }
}

impl fmt::Display for DataplaneGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = |part: Option<&str>| part.unwrap_or("*").to_owned();
        let mesh = any(self.mesh.as_ref().map(MeshName::as_str));
        let namespace = any(self.namespace.as_ref().map(Namespace::as_str));
        let name = any(self.name.as_ref().map(DataplaneName::as_str));
        write!(f, "{mesh}/{namespace}/{name}")?;
        match &self.workload {
            Some(workload) => write!(f, " of workload {workload}"),
            None => Ok(()),
        }
    }
}

/// Why a credential may not be used for a dataplane. The texts are Kuma's where Kuma has the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GrantMismatch(String);

impl DataplaneGrant {
    /// A credential of this kind that is not restricted.
    pub fn unrestricted(proof: Proof) -> Self {
        let (mesh, namespace, name, workload, service_account) = (None, None, None, None, None);
        Self { proof, mesh, namespace, name, workload, service_account, tags: BTreeMap::new() }
    }

    /// Checks that the credential may be used for a dataplane.
    ///
    /// # Errors
    ///
    /// The first restriction that the dataplane does not meet.
    pub fn check(&self, dataplane: &Dataplane) -> Result<(), GrantMismatch> {
        let key = &dataplane.key;
        let parts = [
            ("name", key.name.as_str(), self.name.as_ref().map(DataplaneName::as_str)),
            ("mesh", key.mesh.as_str(), self.mesh.as_ref().map(MeshName::as_str)),
            ("namespace", key.namespace.as_str(), self.namespace.as_ref().map(Namespace::as_str)),
        ];
        for (part, requested, granted) in parts {
            if let Some(granted) = granted
                && granted != requested
            {
                return Err(self.different(part, requested, granted));
            }
        }
        // An empty label counts as absent.
        let account = dataplane.labels.get(SERVICE_ACCOUNT_LABEL).filter(|account| !account.is_empty());
        if let (Some(granted), Some(requested)) = (&self.service_account, account)
            && granted != requested
        {
            return Err(self.different("ServiceAccount", requested, granted));
        }
        self.check_workload(dataplane.workload.as_ref())?;
        self.tags.iter().try_for_each(|(key, values)| self.check_tag(dataplane, key, values))
    }

    fn different(&self, part: &str, requested: &str, granted: &str) -> GrantMismatch {
        let proof = self.proof;
        GrantMismatch(format!(
            "proxy {part} from requestor: {requested} is different than in {proof}: {granted}"
        ))
    }

    fn check_workload(&self, workload: Option<&WorkloadName>) -> Result<(), GrantMismatch> {
        let Some(granted) = &self.workload else { return Ok(()) };
        let proof = self.proof;
        match workload {
            Some(workload) if workload == granted => Ok(()),
            Some(workload) => Err(GrantMismatch(format!(
                "dataplane workload \"{workload}\" is not allowed with this {proof}. Allowed workload in {proof} is \
                 \"{granted}\""
            ))),
            None => Err(GrantMismatch(format!(
                "dataplane has no workload label ({WORKLOAD_LABEL}) required by the {proof}"
            ))),
        }
    }

    /// Kuma compares the tags of a token with the dataplane's labels.
    fn check_tag(
        &self,
        dataplane: &Dataplane,
        key: &str,
        values: &BTreeSet<String>,
    ) -> Result<(), GrantMismatch> {
        let proof = self.proof;
        match dataplane.labels.get(key) {
            Some(value) if values.contains(value) => Ok(()),
            Some(value) => {
                let allowed: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
                Err(GrantMismatch(format!(
                    "dataplane contains tag {key:?} with value {value:?} which is not allowed with this {proof}. Allowed \
                     values in {proof} are [{}]",
                    allowed.join(" ")
                )))
            }
            None => Err(GrantMismatch(format!("dataplane has no tag {key:?} required by the {proof}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DataplaneLimits, DataplaneSpec, Labels};

    fn dataplane() -> Dataplane {
        let labels = [(WORKLOAD_LABEL, "web"), ("team", "a")];
        let spec = DataplaneSpec {
            mesh: "default".into(),
            namespace: "shop".into(),
            name: "web-1".into(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..DataplaneSpec::default()
        };
        Dataplane::parse(&spec, DataplaneLimits::default()).unwrap()
    }

    fn grant(restrict: impl FnOnce(&mut DataplaneGrant)) -> DataplaneGrant {
        let mut grant = DataplaneGrant::unrestricted(Proof::Token);
        restrict(&mut grant);
        grant
    }

    fn tag(key: &str, values: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
        [(key.to_owned(), values.iter().map(|value| (*value).to_owned()).collect())].into()
    }

    #[test]
    fn a_grant_without_restrictions_and_one_that_fits_are_accepted() {
        assert_eq!(grant(|_| {}).check(&dataplane()), Ok(()));
        let fitting = grant(|grant| {
            grant.mesh = MeshName::parse("mesh", "default").ok();
            grant.namespace = Namespace::parse("namespace", "shop").ok();
            grant.name = DataplaneName::parse("name", "web-1").ok();
            grant.workload = WorkloadName::parse_universal("workload", "web").ok();
            grant.tags = tag("team", &["b", "a"]);
        });
        assert_eq!(fitting.check(&dataplane()), Ok(()));
    }

    #[test]
    fn each_mismatch_has_the_text_of_kuma() {
        let mesh = grant(|grant| grant.mesh = MeshName::parse("mesh", "other").ok());
        let namespace = grant(|grant| grant.namespace = Namespace::parse("namespace", "other").ok());
        let name = grant(|grant| grant.name = DataplaneName::parse("name", "web-2").ok());
        let workload = grant(|grant| grant.workload = WorkloadName::parse_universal("workload", "api").ok());
        for (grant, text) in [
            (mesh, "proxy mesh from requestor: default is different than in token: other"),
            (namespace, "proxy namespace from requestor: shop is different than in token: other"),
            (name, "proxy name from requestor: web-1 is different than in token: web-2"),
            (
                workload,
                "dataplane workload \"web\" is not allowed with this token. Allowed workload in token is \"api\"",
            ),
            (
                grant(|grant| grant.tags = tag("zone", &["a"])),
                "dataplane has no tag \"zone\" required by the token",
            ),
            (
                grant(|grant| grant.tags = tag("team", &["b", "c"])),
                "dataplane contains tag \"team\" with value \"a\" which is not allowed with this token. Allowed values in token are [\"b\" \"c\"]",
            ),
        ] {
            assert_eq!(grant.check(&dataplane()).unwrap_err().to_string(), text);
        }
        let mut claiming = dataplane();
        claiming.labels = Labels::from_trusted([(SERVICE_ACCOUNT_LABEL, "admin")]);
        let of_account = |name: &str| grant(|grant| grant.service_account = Some(name.into()));
        let different = of_account("web").check(&claiming).unwrap_err().to_string();
        assert_eq!(different, "proxy ServiceAccount from requestor: admin is different than in token: web");
        assert_eq!(of_account("admin").check(&claiming), Ok(()));
        assert_eq!(of_account("web").check(&dataplane()), Ok(()), "it names none");
        let mut unnamed = dataplane();
        unnamed.workload = None;
        let bound = grant(|grant| grant.workload = WorkloadName::parse_universal("workload", "web").ok());
        let missing = bound.check(&unnamed).unwrap_err().to_string();
        assert_eq!(missing, "dataplane has no workload label (kuma.io/workload) required by the token");
    }

    #[test]
    fn it_is_displayed_for_operators() {
        let grant = grant(|grant| {
            grant.mesh = MeshName::parse("mesh", "default").ok();
            grant.workload = WorkloadName::parse_universal("workload", "web").ok();
        });
        assert_eq!(Principal::Dataplane(grant).to_string(), "dataplane default/*/* of workload web");
        let user = User { name: "alice".into(), groups: vec![] };
        assert_eq!(Principal::User(user).to_string(), "user \"alice\"");
    }
}
