//! `docs/configuration.md` lists every flag of every command with its default.
//!
//! A heading such as `` ## `headcount get workloads` `` begins the table of a command. A heading may name
//! several commands, whose common flags it lists.

use std::collections::BTreeMap;

use clap::{Arg, Command, CommandFactory};

use crate::cli::{
    Cli,
    config::{is_flag_only, key},
};

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

/// One row: `` | `--flag` | `default` | text | ``. A short form may follow the flag.
#[derive(Debug, Clone)]
struct Row {
    flag: String,
    default: String,
    text: String,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let mut cells = line.strip_prefix("| `--")?.splitn(3, '|');
        let flag = cells.next()?.split('`').next()?.to_owned();
        let default = cells.next()?.trim().trim_matches('`').to_owned();
        Some(Self { flag, default, text: cells.next()?.to_owned() })
    }
}

/// The rows of each command, such as `headcount get workloads`.
fn documented() -> BTreeMap<String, Vec<Row>> {
    let (mut rows, mut commands) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
    for line in DOCUMENT.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            commands = heading.split('`').filter(|part| part.starts_with("headcount")).collect();
        } else if let Some(row) = Row::parse(line) {
            for command in &commands {
                rows.entry((*command).to_owned()).or_default().push(row.clone());
            }
        }
    }
    rows
}

/// Calls `check` with the full name of a command and of each of its subcommands.
fn each_command(name: &str, command: &Command, check: &mut dyn FnMut(&str, &Command)) {
    check(name, command);
    for subcommand in command.get_subcommands() {
        each_command(&format!("{name} {}", subcommand.get_name()), subcommand, check);
    }
}

fn default(arg: &Arg) -> String {
    let default = arg.get_default_values().first().filter(|_| arg.get_action().takes_values());
    default.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
}

#[test]
fn the_document_lists_every_flag_with_its_default() {
    let mut documented = documented();
    each_command("headcount", &Cli::command(), &mut |name, command| {
        let flags =
            command.get_arguments().filter_map(|arg| Some((arg.get_long()?.to_owned(), default(arg))));
        let mut flags: Vec<_> = flags.collect();
        let rows = documented.remove(name).unwrap_or_default();
        let mut rows: Vec<_> = rows.into_iter().map(|row| (row.flag, row.default)).collect();
        flags.sort();
        rows.sort();
        assert_eq!(rows, flags, "docs/configuration.md (left) and the flags of `{name}` (right) differ");
    });
    assert!(documented.is_empty(), "docs/configuration.md has tables of unknown commands: {documented:?}");
}

#[test]
fn the_document_names_variables_and_keys_that_do_not_derive_from_the_flag() {
    let documented = documented();
    each_command("headcount", &Cli::command(), &mut |name, command| {
        for arg in command.get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            let row = documented[name].iter().find(|row| row.flag == long).unwrap();
            assert_eq!(row.text.contains("only a flag"), is_flag_only(arg), "`{name} --{long}`: {row:?}");
            let variable = arg.get_env().map(|variable| variable.to_string_lossy().into_owned());
            let key = Some(key(long)).filter(|key| key.contains('.'));
            for special in [variable, key].into_iter().flatten() {
                assert!(
                    row.text.contains(&format!("`{special}`")),
                    "`{name} --{long}`: no `{special}` in {row:?}"
                );
            }
        }
    });
}
