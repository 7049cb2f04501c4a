//! What README says about flags is what the program does.

use clap::CommandFactory;

use crate::cli::Cli;

/// Rows of README's table of flags: the flag and its default.
fn documented() -> Vec<(String, String)> {
    let readme = include_str!("../../../README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `--"));
    let bare = |cell: &str| cell.trim().trim_matches('`').to_owned();
    rows.map(|row| {
        let mut cells = row.split('|');
        let (flag, default) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        (bare(flag), bare(default))
    })
    .collect()
}

#[test]
fn readme_lists_every_flag_of_serve_with_its_default() {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let flags = serve.get_arguments().filter(|arg| !arg.is_global_set() && arg.get_id() != "help");
    let mut real: Vec<(String, String)> = flags
        .map(|arg| {
            let default = arg.get_default_values().first().filter(|_| arg.get_action().takes_values());
            let default = default.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
            (arg.get_long().unwrap_or_default().to_owned(), default)
        })
        .collect();
    let mut documented = documented();
    real.sort();
    documented.sort();
    assert_eq!(documented, real);
}
