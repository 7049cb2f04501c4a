//! Where to look: flags that all resources share.

use clap::{ArgAction, Args};

use crate::{
    cli::{Parsed, Problems},
    model::{DEFAULT_NAMESPACE, LabelSelector, MeshName, Namespace},
};

/// One namespace or all.
#[derive(Args, Debug)]
pub(super) struct NamespaceArgs {
    /// The namespace to look in
    #[arg(short, long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
    /// Look in every namespace
    #[arg(short = 'A', long, action = ArgAction::SetTrue)]
    all_namespaces: Parsed<bool>,
}

/// Narrows a listing.
#[derive(Args, Debug)]
pub(super) struct SelectionArgs {
    /// Only what belongs to this mesh
    #[arg(long)]
    mesh: Option<String>,
    /// Only what has these labels: `k=v,k!=v,k in (a,b),k notin (a,b),k,!k`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<Parsed<LabelSelector>>,
}

/// The namespaces to look in.
#[derive(Debug)]
pub(super) struct Scope(Option<Namespace>);

/// What a listing is narrowed to, as the wire has it: empty means any.
#[derive(Debug)]
pub(super) struct Selection {
    /// A mesh.
    pub(super) mesh: String,
    /// A label selector.
    pub(super) selector: String,
}

impl NamespaceArgs {
    /// The scope, or problems. A name, unless it is empty, is looked for in one
    /// namespace.
    pub(super) fn check(self, name: &str, problems: &mut Problems) -> Option<Scope> {
        let namespace = problems.take_checked("namespace", Namespace::parse("namespace", &self.namespace));
        let all = problems.take("all-namespaces", self.all_namespaces)?;
        if all && !name.is_empty() {
            let problem = format!("{name:?} is looked for in one namespace: use -n, or leave the name out");
            problems.note("all-namespaces", &problem);
            return None;
        }
        if all { Some(Scope(None)) } else { Some(Scope(Some(namespace?))) }
    }
}

impl SelectionArgs {
    /// The selection; what is wrong with it is noted.
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
    /// As the wire has it: empty means every namespace.
    pub(super) fn namespace(&self) -> String {
        self.0.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// As a sentence goes on: ` in default namespace`, or nothing.
    pub(super) fn place(&self) -> String {
        self.0.as_ref().map(|namespace| format!(" in {namespace} namespace")).unwrap_or_default()
    }
}
