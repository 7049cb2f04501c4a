//! `headcount store verify`: checks a data directory without changing it.

use std::path::PathBuf;

use clap::Args;

use super::records::{Record, check};
use crate::{
    cli::{Failure, Outcome, Problems, Terminal, data_dir_failure, terminal::visible},
    runtime::blocking::run_blocking,
    store::{Contents, FileReport, verify},
};

/// The most problems that are printed.
const MAX_PRINTED: usize = 50;

/// Check the data directory of a stopped server
///
/// Checks the checksums and the structure of both files, and decodes every record. Prints
/// what the files contain, and changes nothing. The exit code is 0 if all is right, and 1
/// if there are problems, which are printed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount store verify --data-dir /var/lib/headcount/data")]
pub(super) struct VerifyArgs {
    /// Data directory of a stopped server
    #[arg(long, value_name = "DIRECTORY", hide_env = true)]
    data_dir: PathBuf,
}

impl VerifyArgs {
    /// Checks the directory, and prints the result.
    pub(super) fn run(self, problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        problems.finish()?;
        let reports = run_blocking(|| verify(&self.data_dir));
        let reports = reports.map_err(|error| data_dir_failure(&error, None))?;
        let mut found = Vec::new();
        let mut lines = Vec::new();
        for FileReport { path, contents } in reports {
            let path = path.display();
            match contents {
                Ok(contents) => {
                    let summary = run_blocking(|| {
                        summarize(&contents, |problem| found.push(format!("{path}: {problem}")))
                    });
                    lines.push(format!("{path}: {summary}, {} bytes", contents.bytes));
                }
                Err(error) => found.push(error.to_string()),
            }
        }
        lines.extend(found.iter().take(MAX_PRINTED).map(|problem| format!("problem: {}", visible(problem))));
        match found.len().checked_sub(MAX_PRINTED) {
            Some(more @ 1..) => lines.push(format!("{more} more problems")),
            _ if found.is_empty() => lines.push("no problems".to_owned()),
            _ => {}
        }
        terminal.print(&(lines.join("\n") + "\n"))?;
        Ok(if found.is_empty() { Outcome::Success } else { Outcome::Negative })
    }
}

/// Checks all records of a file. Returns their numbers, such as `2 dataplanes, 1 workloads`.
fn summarize(contents: &Contents, mut problem: impl FnMut(String)) -> String {
    let (mut dataplanes, mut workloads, mut others) = (0, 0, 0);
    for item in &contents.items {
        match check(item) {
            Ok(Record::Dataplane) => dataplanes += 1,
            Ok(Record::Workload) => workloads += 1,
            Ok(Record::Other) => others += 1,
            Err(error) => problem(format!("the record {} {error}", item.key.escape_ascii())),
        }
    }
    let counts = [(dataplanes, "dataplanes"), (workloads, "workloads"), (others, "other records")];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    if counts.is_empty() { "no records".to_owned() } else { counts.join(", ") }
}
