//! Merges the sources of flag values: flag, environment variable, file, default, in this order
//! of precedence.
//!
//! The names of variables and keys derive from the flag: `--grpc-addr`, `HEADCOUNT_GRPC_ADDR`,
//! `grpcAddr`. The file's values become clap's defaults, so that clap does the rest and `--help`
//! shows them.

mod file;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{Arg, ArgMatches, Command, Parser, parser::ValueSource};

use self::file::ConfigFile;
use super::{Failure, Problems, args::Origin};

/// Flags whose key does not derive from the flag. These are keys of Kuma's own configuration.
const KUMA_KEYS: [(&str, &str); 2] = [
    ("workload-labels", "runtime.kubernetes.workloadLabels"),
    ("disallow-multiple-meshes-per-namespace", "runtime.kubernetes.disallowMultipleMeshesPerNamespace"),
];

/// The flag that names the file; it is read before the others.
const CONFIG: &str = "config";

/// Parses a command line together with the environment and the file. Problems of the file are
/// returned in [`Problems`], to which the command adds its own.
pub(super) fn parse<C: Parser>(args: impl IntoIterator<Item = OsString>) -> Result<(C, Problems), Failure> {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut problems = Problems::default();
    let mut file = ConfigFile::default();
    if let Some(path) = config_path(&args) {
        file = ConfigFile::read(path, &mut problems);
        file.keep_known(&keys(&C::command()), &mut problems);
    }
    let mut command = each_flag(C::command(), &mut |flag, long| with_sources(flag, long, &file));
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

/// The path of the file. It is searched in the unparsed arguments, because the file's values are
/// needed to parse them.
fn config_path(args: &[OsString]) -> Option<PathBuf> {
    let mut args = args.iter().take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        if arg == "--config" {
            return args.next().map(PathBuf::from);
        }
        if let Some(path) = arg.to_str().and_then(|arg| arg.strip_prefix("--config=")) {
            return Some(PathBuf::from(path));
        }
    }
    std::env::var_os(variable(CONFIG)).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Sets the environment variable of a flag and, as the default, its value in the file.
fn with_sources(flag: Arg, long: &str, file: &ConfigFile) -> Arg {
    let flag = if flag.get_env().is_none() { flag.env(variable(long)) } else { flag };
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
        let long = arg.get_long().filter(|long| *long != CONFIG)?;
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
                Some(ValueSource::DefaultValue) => {
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
