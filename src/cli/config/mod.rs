//! Merges the sources of flag values: flag, environment variable, file, default, in this order
//! of precedence.
//!
//! The names of variables and keys derive from the flag: `--grpc-addr`, `HEADCOUNT_GRPC_ADDR`,
//! `grpcAddr`. The file's values become clap's defaults, so that clap does the rest and `--help`
//! shows them. An empty variable, or an empty text in the file, counts as not set.
//!
//! A flag with `hide_env` has neither variable nor key: one that selects what a command reads, and
//! has the name of a setting of the agent, would otherwise apply without being noticed.

mod file;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use clap::{Arg, ArgMatches, Command, Parser, builder::Resettable, parser::ValueSource};

use self::file::ConfigFile;
use super::{Failure, Problems, args::Origin};
use crate::telemetry::logs::LogFormat;

/// Flags whose key does not derive from the flag. These are keys of Kuma's own configuration.
const KUMA_KEYS: [(&str, &str); 2] = [
    ("workload-labels", "runtime.kubernetes.workloadLabels"),
    ("disallow-multiple-meshes-per-namespace", "runtime.kubernetes.disallowMultipleMeshesPerNamespace"),
];

/// The flag that names the file; it is read before the others.
const CONFIG: &str = "config";
/// The flag that also determines how errors are written.
const LOG_FORMAT: &str = "log-format";

/// The arguments and the file of a command line, before they are parsed.
pub(super) struct Sources {
    args: Vec<OsString>,
    file: ConfigFile,
    problems: Problems,
}

impl Sources {
    /// Reads the file, if the arguments or the environment name one.
    pub(super) fn read<C: Parser>(args: impl IntoIterator<Item = OsString>) -> Self {
        let args: Vec<OsString> = args.into_iter().collect();
        let (mut file, mut problems) = (ConfigFile::default(), Problems::default());
        if let Some(path) = unparsed(&args, CONFIG).or_else(|| environment(OsStr::new(&variable(CONFIG)))) {
            file = ConfigFile::read(path.into(), &mut problems);
            file.keep_known(&keys(&C::command()), &mut problems);
        }
        Self { args, file, problems }
    }

    /// The format of the command's log, or text if it writes none. It is needed if parsing fails, so
    /// anything invalid is ignored here.
    pub(super) fn log_format<C: Parser>(&self) -> LogFormat {
        let command = C::command();
        let subcommand = subcommand(&self.args).and_then(|name| command.find_subcommand(name));
        if subcommand.is_none_or(|it| it.get_arguments().all(|arg| arg.get_long() != Some(LOG_FORMAT))) {
            return LogFormat::Text;
        }
        let of_file = || self.file.values(&key(LOG_FORMAT))?.first().map(OsString::from);
        let format = unparsed(&self.args, LOG_FORMAT)
            .or_else(|| environment(OsStr::new(&variable(LOG_FORMAT))))
            .or_else(of_file);
        format.and_then(|format| format.to_str()?.parse().ok()).unwrap_or_default()
    }

    /// Parses the command line together with the environment and the file. Problems of the file are
    /// returned in [`Problems`], to which the command adds its own.
    pub(super) fn parse<C: Parser>(self) -> Result<(C, Problems), Failure> {
        let Self { args, file, problems } = self;
        let mut command =
            each_flag(C::command(), &mut |flag, long| with_sources(flag, long, &file, is_empty));
        let parsed = command.try_get_matches_from_mut(args).and_then(|matches| {
            let cli = C::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
            Ok((cli, origins(&C::command(), &matches, &file)))
        });
        match parsed {
            Ok((cli, origins)) => Ok((cli, problems.with_origins(origins))),
            Err(error) if error.use_stderr() && !problems.is_empty() => {
                Err(Failure::Usage(format!("{problems}\n\n{}", error.render())))
            }
            Err(error) => Err(Failure::Clap(error)),
        }
    }
}

/// The value of a flag in arguments that are not parsed yet.
fn unparsed(args: &[OsString], long: &str) -> Option<OsString> {
    let flag = format!("--{long}");
    let mut args = args.iter().take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        if *arg == *flag {
            return args.next().cloned();
        }
        if let Some(value) = arg.to_str().and_then(|arg| arg.strip_prefix(&flag)?.strip_prefix('=')) {
            return Some(value.into());
        }
    }
    None
}

/// The name of the subcommand in arguments that are not parsed yet. Only `--config` may precede it
/// with a value.
fn subcommand(args: &[OsString]) -> Option<&OsStr> {
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--config" {
            args.next();
        } else if !arg.as_encoded_bytes().starts_with(b"-") {
            return Some(arg);
        }
    }
    None
}

/// A variable of the process; none if it is empty.
fn environment(name: &OsStr) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Whether the process has an empty variable of this name.
fn is_empty(name: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}

/// Sets the environment variable of a flag and, as the default, its value in the file.
fn with_sources(flag: Arg, long: &str, file: &ConfigFile, is_empty: impl Fn(&OsStr) -> bool) -> Arg {
    if is_flag_only(&flag) {
        return flag;
    }
    let name = flag.get_env().map_or_else(|| variable(long).into(), OsStr::to_owned);
    // clap takes an empty variable for a value; without its name, it does not read the variable.
    let flag = if is_empty(&name) { flag.env(Resettable::Reset) } else { flag.env(name) };
    match file.values(&key(long)) {
        Some(values) => flag.default_values(values.to_vec()).required(false),
        None => flag,
    }
}

/// Applies `change` to every flag of a command and its subcommands.
fn each_flag(command: Command, change: &mut dyn FnMut(Arg, &str) -> Arg) -> Command {
    command
        .mut_args(|arg| match arg.get_long().map(str::to_owned) {
            Some(long) => change(arg, &long),
            None => arg,
        })
        .mut_subcommands(|subcommand| each_flag(subcommand, change))
}

/// The keys that a file may have, each with whether it takes a list.
fn keys(command: &Command) -> BTreeMap<String, bool> {
    let own = command.get_arguments().filter_map(|arg| {
        let long = arg.get_long().filter(|long| *long != CONFIG && !is_flag_only(arg))?;
        Some((key(long), matches!(arg.get_action(), clap::ArgAction::Append)))
    });
    own.chain(command.get_subcommands().flat_map(keys)).collect()
}

/// The source of each flag's value, for the flags of the command that runs.
fn origins(command: &Command, matches: &ArgMatches, file: &ConfigFile) -> BTreeMap<String, Origin> {
    let mut origins: BTreeMap<_, _> = command
        .get_arguments()
        .filter_map(|arg| {
            let long = arg.get_long()?;
            let place = match matches.value_source(arg.get_id().as_str()) {
                Some(ValueSource::EnvVariable) => variable_of(arg, long),
                Some(ValueSource::DefaultValue) if !is_flag_only(arg) => {
                    file.place(&key(long)).unwrap_or_else(|| format!("--{long}"))
                }
                _ => format!("--{long}"),
            };
            let example = arg.get_default_values().first().and_then(|value| value.to_str());
            Some((long.to_owned(), Origin { place, example: example.map(str::to_owned) }))
        })
        .collect();
    if let Some((name, matches)) = matches.subcommand()
        && let Some(subcommand) = command.find_subcommand(name)
    {
        origins.extend(self::origins(subcommand, matches, file));
    }
    origins
}

/// Whether a flag has neither a variable nor a key.
pub(super) fn is_flag_only(flag: &Arg) -> bool {
    flag.is_hide_env_set()
}

fn variable_of(arg: &Arg, long: &str) -> String {
    arg.get_env().and_then(OsStr::to_str).map_or_else(|| variable(long), str::to_owned)
}

/// `grpc-addr` -> `HEADCOUNT_GRPC_ADDR`.
fn variable(long: &str) -> String {
    format!("HEADCOUNT_{}", long.replace('-', "_").to_uppercase())
}

/// `grpc-addr` -> `grpcAddr`, except for [`KUMA_KEYS`].
pub(super) fn key(long: &str) -> String {
    if let Some((_, path)) = KUMA_KEYS.iter().find(|(flag, _)| *flag == long) {
        return (*path).to_owned();
    }
    let mut words = long.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |key, word| {
        let mut letters = word.chars();
        key + &letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    })
}
