//! The contexts file: named servers with the client's files for each.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    cli::{Format, output::document, terminal::visible},
    model::Quoted,
    runtime::limited_file::read_limited_regular,
};

/// Largest file, in bytes: a thousand contexts are about this large.
const MAX_BYTES: u64 = 256 * 1024;
/// Longest name of a context, in bytes.
const MAX_NAME: usize = 253;
/// The fields of a context. They have the names of the flags that they set.
pub(in crate::cli) const FIELDS: [&str; 6] =
    ["server", "ca-file", "token-file", "client-cert-file", "client-key-file", "tls-server-name"];

/// The content of a contexts file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Contexts {
    /// The context that commands use by default. It is one of `contexts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) current_context: Option<String>,
    pub(in crate::cli) contexts: BTreeMap<String, Context>,
}

/// The server of a context, and the client's files for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) struct Context {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) ca_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) client_cert_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) client_key_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) tls_server_name: Option<String>,
}

impl Contexts {
    /// Parses the text of a file. An empty one has no contexts.
    ///
    /// # Errors
    ///
    /// The field, what is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let tree: Value = serde_saphyr::from_str(text).map_err(|error| {
            let error = error.to_string();
            let first = error.strip_prefix("error: ").unwrap_or(&error).lines().next().unwrap_or_default();
            format!("is no YAML ({})", Quoted(first))
        })?;
        let mut contexts = Self::default();
        for (key, value) in map("the file", tree)? {
            match key.as_str() {
                "current-context" => contexts.current_context = text_of("current-context", value)?,
                "contexts" => {
                    for (name, value) in map("contexts", value)? {
                        check_name(&name)?;
                        let context = Context::parse(&format!("contexts.{name}"), value)?;
                        contexts.contexts.insert(name, context);
                    }
                }
                _ => return Err(unknown("", &key, &["current-context", "contexts"])),
            }
        }
        match &contexts.current_context {
            Some(name) if !contexts.contexts.contains_key(name) => {
                Err(format!("current-context: {}: there is no context of this name", Quoted(name)))
            }
            _ => Ok(contexts),
        }
    }

    /// The text of a file with these contexts, which [`Contexts::parse`] parses to the same contexts.
    pub fn to_yaml(&self) -> String {
        document(Format::Yaml, self)
    }

    /// Reads a file; returns no contexts if there is none.
    ///
    /// # Errors
    ///
    /// If it can't be read or is invalid. The error names the file and the field.
    pub(in crate::cli) fn read(path: &Path) -> Result<Self, String> {
        let place = |problem: &str| format!("{}: {problem}", path.display());
        match read_limited_regular(path, MAX_BYTES) {
            Ok(Some(text)) => Self::parse(&text).map_err(|problem| place(&problem)),
            Ok(None) => Err(place("is larger than 256 KiB: give a file of contexts")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(place(&format!("can't read it ({error})"))),
        }
    }

    /// Replaces a file, readable by its owner only. It has either its old or its new content, whatever
    /// happens meanwhile. A symbolic link stays one.
    pub(in crate::cli) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let write = || -> io::Result<()> {
            let target = fs::canonicalize(path).or_else(|_| std::path::absolute(path))?;
            let directory = target.parent().unwrap_or(Path::new("/"));
            create_private(directory)?;
            // Its permissions are 0600.
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            io::Write::write_all(&mut file, self.to_yaml().as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&target)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// The names of all contexts, for messages.
    pub(in crate::cli) fn names(&self) -> String {
        let names: Vec<_> = self.contexts.keys().map(|name| visible(name)).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

impl Context {
    fn parse(path: &str, value: Value) -> Result<Self, String> {
        let mut context = Self::default();
        for (key, value) in map(path, value)? {
            let value = text_of(&format!("{path}.{key}"), value);
            match key.as_str() {
                "server" => context.server = value?,
                "ca-file" => context.ca_file = value?.map(PathBuf::from),
                "token-file" => context.token_file = value?.map(PathBuf::from),
                "client-cert-file" => context.client_cert_file = value?.map(PathBuf::from),
                "client-key-file" => context.client_key_file = value?.map(PathBuf::from),
                "tls-server-name" => context.tls_server_name = value?,
                _ => return Err(unknown(path, &key, &FIELDS)),
            }
        }
        Ok(context)
    }

    /// The same context; its relative paths are those of the file's directory, as in a kubeconfig.
    pub(super) fn relative_to(mut self, directory: &Path) -> Self {
        let files =
            [&mut self.ca_file, &mut self.token_file, &mut self.client_cert_file, &mut self.client_key_file];
        for file in files.into_iter().flatten() {
            *file = directory.join(&*file);
        }
        self
    }
}

/// Checks the name of a context.
///
/// # Errors
///
/// What a name must be.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let is_valid = !name.is_empty()
        && name.len() <= MAX_NAME
        && !name.starts_with('-')
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.@:/".contains(&c));
    if is_valid {
        return Ok(());
    }
    Err(format!(
        "{}: the name of a context must have 1 to {MAX_NAME} letters, digits and '-', '_', '.', '@', ':', '/', and not begin with '-'",
        Quoted(name)
    ))
}

fn map(path: &str, value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => Err(format!("{path}: must be a map of keys and values")),
    }
}

/// A text; none if it is empty, as elsewhere in the configuration.
fn text_of(path: &str, value: Value) -> Result<Option<String>, String> {
    match value {
        Value::String(text) if visible(&text) != text => {
            Err(format!("{}: must not have control characters", Quoted(path)))
        }
        Value::String(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Value::Null => Ok(None),
        _ => Err(format!("{}: must be a text", Quoted(path))),
    }
}

fn unknown(path: &str, key: &str, known: &[&str]) -> String {
    let mut problem = match path {
        "" => Quoted(key).to_string(),
        path => format!("{}", Quoted(&format!("{path}.{key}"))),
    };
    // Writing to a String can't fail.
    let _written = write!(problem, ": there is no such field; the fields are {}", known.join(", "));
    problem
}

/// Creates a directory that only its owner can read, unless it exists.
fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

#[cfg(test)]
mod tests;
