//! Flags that select resources: namespace, mesh and labels.

use clap::{ArgAction, Args};

use crate::{
    cli::{Parsed, Problems, args::switch::Switch},
    model::{DEFAULT_NAMESPACE, LabelSelector, MeshName, Namespace},
};

/// `--namespace` and `--all-namespaces`.
#[derive(Args, Debug)]
pub(super) struct NamespaceArgs {
    /// Namespace to list
    #[arg(short, long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
    /// List all namespaces
    #[arg(short = 'A', long, action = ArgAction::SetTrue)]
    all_namespaces: Parsed<Switch>,
}

/// `--mesh` and `--selector`.
#[derive(Args, Debug)]
pub(super) struct SelectionArgs {
    /// List only resources of this mesh
    #[arg(long, value_name = "MESH", hide_env = true)]
    mesh: Option<String>,
    /// List only resources with matching labels, such as kuma.io/zone=east
    ///
    /// Conditions are k=v, k!=v, k in (a,b), k notin (a,b), k (has the label) and !k (does
    /// not); all of them must match. Separate them by commas.
    #[arg(short = 'l', long, value_name = "SELECTOR", hide_env = true)]
    selector: Option<Parsed<LabelSelector>>,
}

/// One namespace, or all (`None`).
#[derive(Debug)]
pub(super) struct Scope(Option<Namespace>);

/// A filter in the form of a request: empty matches any.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) mesh: String,
    pub(super) selector: String,
}

impl NamespaceArgs {
    /// Returns the scope, or adds a problem. `name` is that of a single resource or empty; a
    /// single resource requires one namespace.
    pub(super) fn check(self, name: &str, problems: &mut Problems) -> Option<Scope> {
        let namespace = problems.take_checked("namespace", Namespace::parse("namespace", &self.namespace));
        let Switch(all) = problems.take("all-namespaces", self.all_namespaces)?;
        if all && !name.is_empty() {
            let problem = format!(
                "a name such as {name:?} requires one namespace: use --namespace, or remove the name"
            );
            problems.note("all-namespaces", &problem);
            return None;
        }
        if all { Some(Scope(None)) } else { Some(Scope(Some(namespace?))) }
    }
}

impl SelectionArgs {
    /// Returns the filter; adds invalid flags to `problems`.
    pub(super) fn check(self, problems: &mut Problems) -> Selection {
        let mesh = self.mesh.filter(|mesh| !mesh.is_empty()).map(|mesh| MeshName::parse("mesh", &mesh));
        let mesh = mesh.and_then(|mesh| problems.take_checked("mesh", mesh));
        let selector = problems.take_optional("selector", self.selector);
        Selection {
            mesh: mesh.map(|mesh| mesh.to_string()).unwrap_or_default(),
            selector: selector.map(|selector| selector.to_string()).unwrap_or_default(),
        }
    }
}

impl Scope {
    /// The namespace in a request; empty for all.
    pub(super) fn namespace(&self) -> String {
        self.0.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// The end of a sentence: ` in default namespace`, or nothing.
    pub(super) fn place(&self) -> String {
        self.0.as_ref().map(|namespace| format!(" in {namespace} namespace")).unwrap_or_default()
    }
}
