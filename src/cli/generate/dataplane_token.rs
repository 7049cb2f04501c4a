//! `headcount generate dataplane-token`.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use clap::Args;

use super::token::TokenArgs;
use crate::{
    authentication::token::Subject,
    cli::{Failure, Outcome, Parsed, Problems, Terminal},
    model::{DEFAULT_MESH, DataplaneGrant, DataplaneName, Labels, MeshName, Namespace, Proof, WorkloadName},
};

/// Generate a token for dataplanes
///
/// Writes the token, which is a secret, to --output or standard output. Its holder may
/// register the dataplanes of the mesh that meet all of --name, --namespace, --workload and
/// --tag. A server signs it with its newest key for such tokens (role operator), or this
/// command does with --signing-key-file.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount generate dataplane-token --context prod --name web-1 --valid-for 720h --output web-1.token
  headcount generate dataplane-token --signing-key-file signing.key --kid 1 --name web-1 --valid-for 720h
  headcount generate dataplane-token --signing-key-file signing.key --kid 1 --mesh default \\
      --workload web --tag team=a,b --valid-for 30days --output web.token")]
pub(super) struct DataplaneTokenArgs {
    /// Mesh of the dataplanes
    #[arg(long, value_name = "MESH", default_value = DEFAULT_MESH, hide_env = true)]
    mesh: String,
    /// Name of the dataplane
    #[arg(long, value_name = "NAME", hide_env = true)]
    name: Option<String>,
    /// Namespace of the dataplanes
    #[arg(long, value_name = "NAMESPACE", hide_env = true)]
    namespace: Option<String>,
    /// Workload that the dataplanes name
    #[arg(long, value_name = "WORKLOAD", hide_env = true)]
    workload: Option<String>,
    /// Label that the dataplanes have, with one of these values; can be repeated
    #[arg(long, value_name = "KEY=VALUE,VALUE", hide_env = true)]
    tag: Vec<Parsed<Tag>>,
    #[command(flatten)]
    token: TokenArgs,
}

/// `key=value,value`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag {
    key: String,
    values: BTreeSet<String>,
}

impl FromStr for Tag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, values) = text.split_once('=').ok_or("must be KEY=VALUE or KEY=VALUE,VALUE")?;
        let values: BTreeSet<_> = values.split(',').map(str::to_owned).collect();
        for value in &values {
            let label = BTreeMap::from([(key.to_owned(), value.clone())]);
            Labels::parse("label", &label, 1).map_err(|invalid| invalid.to_string())?;
        }
        Ok(Self { key: key.to_owned(), values })
    }
}

impl DataplaneTokenArgs {
    /// Issues the token, and writes or prints it.
    pub(super) async fn run(
        self,
        mut problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let mut grant = DataplaneGrant::unrestricted(Proof::Token);
        grant.mesh = problems.take_checked("mesh", MeshName::parse("mesh", &self.mesh));
        grant.name =
            self.name.and_then(|name| problems.take_checked("name", DataplaneName::parse("name", &name)));
        grant.namespace = self.namespace.and_then(|namespace| {
            problems.take_checked("namespace", Namespace::parse("namespace", &namespace))
        });
        grant.workload = self.workload.and_then(|workload| {
            problems.take_checked("workload", WorkloadName::parse_kubernetes("workload", &workload))
        });
        for tag in self.tag {
            let Some(Tag { key, values }) = problems.take("tag", tag) else { continue };
            grant.tags.entry(key).or_default().extend(values);
        }
        let Some(issuer) = self.token.check(&mut problems) else {
            return Err(problems.into());
        };
        problems.finish()?;
        issuer.write(Subject::Dataplane(grant), terminal).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_a_key_and_values_that_a_label_can_have() {
        let tag: Tag = "team=b,a".parse().unwrap();
        assert_eq!((&*tag.key, tag.values), ("team", ["a".to_owned(), "b".to_owned()].into()));
        for bad in ["team", "=a", "team=a b", "te am=a", "team=a=b"] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }
}
