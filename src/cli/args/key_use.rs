//! `--use` and `--mesh`: what a signing key signs.

use clap::{Args, ValueEnum};

use super::{Parsed, Problems, choice};
use crate::model::{KeyUse, MeshName};

/// The use of a signing key.
#[derive(Args, Debug)]
pub(in crate::cli) struct KeyUseArgs {
    /// What the key signs
    #[arg(long = "use", value_name = "USE", value_parser = choice::<Kind>(), hide_env = true)]
    kind: Option<Parsed<Kind>>,
    /// Mesh of the dataplane tokens; by default the key is one for all meshes
    #[arg(long, value_name = "MESH", hide_env = true)]
    mesh: Option<String>,
}

/// Values of `--use`.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Dataplane tokens
    Dataplane,
    /// User tokens
    User,
}

impl KeyUseArgs {
    /// Whether a flag is set.
    pub(in crate::cli) fn is_set(&self) -> bool {
        self.kind.is_some() || self.mesh.is_some()
    }

    /// Returns the use, or adds what is wrong to `problems`.
    pub(in crate::cli) fn check(self, problems: &mut Problems) -> Option<KeyUse> {
        let mesh = self.mesh.map(|mesh| problems.take_checked("mesh", MeshName::parse("mesh", &mesh)));
        let Some(kind) = self.kind else {
            problems.note("use", "is missing: write --use dataplane or --use user");
            return None;
        };
        match (problems.take("use", kind)?, mesh) {
            (Kind::Dataplane, None) => Some(KeyUse::dataplanes(None)),
            (Kind::Dataplane, Some(mesh)) => mesh.map(|mesh| KeyUse::dataplanes(Some(mesh))),
            (Kind::User, None) => Some(KeyUse::Users),
            (Kind::User, Some(_)) => {
                problems.note("mesh", "user tokens belong to no mesh: remove it");
                None
            }
        }
    }
}
