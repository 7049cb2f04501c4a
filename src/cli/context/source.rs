//! Which context a command uses.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::file::{Context, Contexts};
use crate::{
    cli::{Problems, terminal::visible},
    runtime::files::parent,
};

/// A context, and its place for error messages. Both are empty if there is none to use.
type Selected = (Context, String);

/// The file and the name that flags select.
#[derive(Debug)]
pub(in crate::cli) struct ContextSource {
    pub(in crate::cli) file: Option<PathBuf>,
    pub(in crate::cli) name: Option<String>,
}

impl ContextSource {
    /// Returns the context to use, or adds what is wrong to `problems`. `has_address` is whether a flag sets the server's address; then the current context is not used.
    pub(in crate::cli) fn select(&self, has_address: bool, problems: &mut Problems) -> Option<Selected> {
        if has_address && self.name.is_none() {
            return Some(Selected::default());
        }
        let Some(path) = self.file.clone().or_else(default_path) else {
            return match &self.name {
                Some(_) => {
                    problems.note("context", "there is no home directory: set --contexts-file");
                    None
                }
                None => Some(Selected::default()),
            };
        };
        let contexts = match Contexts::read(&path) {
            Ok(contexts) => contexts,
            Err(problem) => {
                problems.note("contexts-file", &problem);
                return None;
            }
        };
        let Some(name) = self.name.as_ref().or(contexts.current_context.as_ref()) else {
            return Some(Selected::default());
        };
        let Some(context) = contexts.contexts.get(name) else {
            problems.note("context", &missing(name, &contexts, &path));
            return None;
        };
        let place = format!("context {:?} in {}", visible(name), path.display());
        Some((context.clone().relative_to(parent(&path)), place))
    }
}

/// That a file has no context of this name.
pub(super) fn missing(name: &str, contexts: &Contexts, path: &Path) -> String {
    format!("{name:?}: {} has no such context; it has: {}", path.display(), contexts.names())
}

/// `$XDG_CONFIG_HOME/headcount/contexts.yaml`, or `~/.config/headcount/contexts.yaml`; none without a home
/// directory. Tests of this crate don't read the file of the person who runs them.
pub(super) fn default_path() -> Option<PathBuf> {
    if cfg!(test) {
        return None;
    }
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")))?;
    Some(config.join("headcount/contexts.yaml"))
}
