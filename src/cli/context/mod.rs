//! `headcount context`: named servers, so that their addresses and files are written once.
//!
//! ```text
//! contexts file ─► file: Contexts ─► source: the context of --context, or the current one
//!                        ▲                      ▼
//!             context set, use, delete    args/security.rs: flags take precedence
//! ```

mod file;
mod source;

use std::{fmt::Write as _, path::PathBuf};

use clap::{Args, Subcommand};

pub use self::file::Contexts;
use self::{
    file::check_name,
    source::{default_path, missing},
};
pub(super) use self::{
    file::{Context, FIELDS},
    source::ContextSource,
};
use super::{
    Failure, Format, Outcome, Parsed, Problems, Terminal, args::server_url::ServerUrl, output::document,
    terminal::visible,
};

/// Manage contexts: named servers with the client's files for each
///
/// A context has the address of a server and the files of its CA, the token and the client
/// certificate. All commands that call a server use the current context, or the one that
/// --context names. Flags and environment variables take precedence over its fields. If the
/// address is set by a flag or a variable, the current context is not used at all, so that
/// its token is not sent to another server.
#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  headcount context set prod --server https://headcount.example.com:7100 \\
      --ca-file ca.crt --token-file ~/.config/headcount/prod.jwt
  headcount context use prod
  headcount get workloads -A
  headcount get workloads -A --context staging"
)]
pub(super) struct ContextArgs {
    #[command(subcommand)]
    command: ContextCommand,
}

#[derive(Subcommand, Debug)]
enum ContextCommand {
    Set(Box<SetArgs>),
    Use(NameArgs),
    List(FileArgs),
    Delete(NameArgs),
    Show(ShowArgs),
}

#[derive(Args, Debug)]
struct FileArgs {
    /// File with the contexts [default: ~/.config/headcount/contexts.yaml]
    #[arg(long, value_name = "FILE")]
    contexts_file: Option<PathBuf>,
}

/// Create a context, or change fields of one
///
/// Fields without a flag stay as they are. An empty value removes a field. Relative paths
/// are made absolute. The file is readable by its owner only.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount context set prod --server https://headcount.example.com:7100 --ca-file ca.crt
  headcount context set prod --token-file \"\"        remove the token file")]
struct SetArgs {
    /// Name of the context
    name: String,
    /// gRPC address of the server: https://HOST:PORT (TLS), http://HOST:PORT, HOST:PORT or HOST
    #[arg(long, value_name = "ADDRESS", hide_env = true)]
    server: Option<String>,
    /// PEM file of the CA that issued the server's certificate
    #[arg(long, value_name = "FILE", hide_env = true)]
    ca_file: Option<String>,
    /// File with the client's token
    #[arg(long, value_name = "FILE", hide_env = true)]
    token_file: Option<String>,
    /// PEM file of the client's certificate and its issuers
    #[arg(long, value_name = "FILE", hide_env = true)]
    client_cert_file: Option<String>,
    /// PEM file of the private key of the client's certificate
    #[arg(long, value_name = "FILE", hide_env = true)]
    client_key_file: Option<String>,
    /// Name that the server's certificate must have, if it is not the host of the address
    #[arg(long, value_name = "NAME", hide_env = true)]
    tls_server_name: Option<String>,
    #[command(flatten)]
    file: FileArgs,
}

/// The name of a context
#[derive(Args, Debug)]
struct NameArgs {
    /// Name of the context
    name: String,
    #[command(flatten)]
    file: FileArgs,
}

/// Print one context as YAML
#[derive(Args, Debug)]
struct ShowArgs {
    /// Name of the context; by default the current one
    name: Option<String>,
    #[command(flatten)]
    file: FileArgs,
}

impl ContextArgs {
    pub(super) fn run(self, problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        match self.command {
            ContextCommand::Set(args) => args.run(problems, terminal),
            ContextCommand::Use(args) => args.make_current(problems, terminal),
            ContextCommand::List(args) => args.list(problems, terminal),
            ContextCommand::Delete(args) => args.delete(problems, terminal),
            ContextCommand::Show(args) => args.run(problems, terminal),
        }
    }
}

/// A contexts file that was read.
struct Opened {
    path: PathBuf,
    contexts: Contexts,
}

impl FileArgs {
    fn open(self, mut problems: Problems) -> Result<Opened, Failure> {
        match self.contexts_file.or_else(default_path) {
            Some(path) => match Contexts::read(&path) {
                Ok(contexts) => {
                    problems.finish()?;
                    return Ok(Opened { path, contexts });
                }
                Err(problem) => problems.note("contexts-file", &problem),
            },
            None => problems.note("contexts-file", "is missing: there is no home directory"),
        }
        Err(problems.into())
    }

    fn list(self, problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        let Opened { path, contexts } = self.open(problems)?;
        if contexts.contexts.is_empty() {
            terminal.remark(format_args!("{} has no contexts", path.display()));
            return Ok(Outcome::Success);
        }
        let width = contexts.contexts.keys().map(String::len).max().unwrap_or_default().max(4);
        let mut table = format!("CURRENT  {:width$}  SERVER\n", "NAME");
        for (name, context) in &contexts.contexts {
            let current = if contexts.current_context.as_ref() == Some(name) { "*" } else { "" };
            let server = context.server.as_deref().unwrap_or("-");
            // Writing to a String can't fail.
            let _written = writeln!(table, "{current:7}  {name:width$}  {}", visible(server));
        }
        terminal.print(&table)?;
        Ok(Outcome::Success)
    }
}

impl Opened {
    fn require(&self, name: &str) -> Result<&Context, Failure> {
        let context = self.contexts.contexts.get(name);
        context.ok_or_else(|| Failure::Usage(missing(name, &self.contexts, &self.path)))
    }

    fn write(&self, done: &str, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        self.contexts.write(&self.path)?;
        terminal.remark(done);
        Ok(Outcome::Success)
    }
}

impl SetArgs {
    fn run(self, mut problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        let Self {
            name,
            server,
            ca_file,
            token_file,
            client_cert_file,
            client_key_file,
            tls_server_name,
            file,
        } = self;
        if let Err(problem) = check_name(&name) {
            problems.note_text(format!("NAME: {problem}"));
        }
        if let Some(server) = server.as_deref().filter(|server| !server.is_empty()) {
            let parsed = server.parse::<Parsed<ServerUrl>>();
            problems.take_optional("server", parsed.ok());
        }
        let mut absolute = |flag: &str, file: Option<String>| {
            let file = file?;
            match std::path::absolute(&file) {
                Ok(path) => {
                    let path = path.into_os_string().into_string().ok();
                    if path.is_none() {
                        problems.note(flag, "the path of the present directory is not UTF-8");
                    }
                    path
                }
                // The empty path, which removes the field.
                Err(_) => Some(String::new()),
            }
        };
        let files = [
            absolute("ca-file", ca_file),
            absolute("token-file", token_file),
            absolute("client-cert-file", client_cert_file),
            absolute("client-key-file", client_key_file),
        ];
        let mut opened = file.open(problems)?;
        let context = opened.contexts.contexts.entry(name.clone()).or_default();
        let fields = [
            &mut context.ca_file,
            &mut context.token_file,
            &mut context.client_cert_file,
            &mut context.client_key_file,
        ];
        for (field, value) in fields.into_iter().zip(files) {
            if let Some(value) = value {
                *field = Some(value).filter(|value| !value.is_empty()).map(PathBuf::from);
            }
        }
        for (field, value) in [(&mut context.server, server), (&mut context.tls_server_name, tls_server_name)]
        {
            if let Some(value) = value {
                *field = Some(value).filter(|value| !value.is_empty());
            }
        }
        // What is written must be readable: a value may have control characters.
        if let Err(problem) = Contexts::parse(&opened.contexts.to_yaml()) {
            return Err(Failure::Usage(problem));
        }
        opened.write(
            &format!("context {name:?} is set; `headcount context use {name}` makes it current"),
            terminal,
        )
    }
}

impl NameArgs {
    fn make_current(self, problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        let mut opened = self.file.open(problems)?;
        opened.require(&self.name)?;
        opened.contexts.current_context = Some(self.name.clone());
        opened.write(&format!("context {:?} is current", self.name), terminal)
    }

    fn delete(self, problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        let mut opened = self.file.open(problems)?;
        opened.require(&self.name)?;
        opened.contexts.contexts.remove(&self.name);
        if opened.contexts.current_context.as_ref() == Some(&self.name) {
            opened.contexts.current_context = None;
        }
        opened.write(&format!("context {:?} is deleted", self.name), terminal)
    }
}

impl ShowArgs {
    fn run(self, problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        let opened = self.file.open(problems)?;
        let name = self.name.or_else(|| opened.contexts.current_context.clone());
        let name = name.ok_or_else(|| {
            let (path, names) = (opened.path.display(), opened.contexts.names());
            Failure::Usage(format!("{path} has no current context; give a name, one of: {names}"))
        })?;
        terminal.print(&document(Format::Yaml, opened.require(&name)?))?;
        Ok(Outcome::Success)
    }
}
