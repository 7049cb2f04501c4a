//! The commands in README.md and the other documents for users, run to their end as a reader would type
//! them.
//!
//! ```text
//!   document ──► block: commands, expected output ──► session: one bash script in a network namespace
//!                         ▲                                │ output and exit code of each command
//!                         │                                ▼
//!                      rules: what differs             checks
//! ```
//!
//! By default a command must exit with 0 and print what the document shows. [`rules`] has the exceptions:
//! commands that run until Ctrl-C, and those that can't run here, with the reason. The namespace has the
//! documented ports, whatever else runs on this machine.

mod block;
mod output;
mod rules;
mod session;

use std::{collections::BTreeSet, fs, path::Path};

use self::{
    block::{Block, Command},
    rules::{How, NOT_RUN, RULES, Rule},
    session::Session,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// All documents that may have commands for users.
fn documents() -> Vec<String> {
    let mut documents = vec!["README.md".to_owned(), "deploy/kubernetes/README.md".to_owned()];
    for entry in fs::read_dir(Path::new(ROOT).join("docs")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            documents.push(format!("docs/{name}"));
        }
    }
    documents.sort();
    documents
}

/// The blocks of a document that are run.
fn blocks(document: &str) -> Vec<Block> {
    let text = fs::read_to_string(Path::new(ROOT).join(document)).unwrap();
    let mut blocks = block::parse(&text);
    blocks.retain(|block| {
        let first = block.commands[0].key();
        !NOT_RUN.iter().any(|(of, command, _)| *of == document && *command == first)
    });
    blocks
}

fn rule(document: &str, command: &Command) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.matches(document, command))
}

/// Runs all commands of a document, and checks the result of each.
async fn run(document: &str) {
    let blocks = blocks(document);
    let commands: Vec<_> = blocks.iter().flat_map(|block| &block.commands).collect();
    let Some(mut session) = Session::new(document) else { return };
    for command in &commands {
        session.add(command, rule(document, command));
    }
    let results = session.run().await;
    for (command, result) in commands.iter().zip(results) {
        let rule = rule(document, command);
        let place = format!("{document}, line {}: {}", command.line, command.text);
        let expected: &[&str] = match rule.map_or(How::ToItsEnd, |rule| rule.how) {
            How::NotRun(reason) => {
                println!("NOT RUN: {place}: {reason}");
                continue;
            }
            How::Instead { command, reason } | How::InsteadUntil { command, reason, .. } => {
                println!("INSTEAD: {command}: {reason}: {place}");
                &["0", "reached, then 0"]
            }
            How::ToItsEnd => &["0"],
            How::Exit(code) => &[code],
            // Programs that do not handle Ctrl-C end with 128 + SIGINT in a shell.
            How::Until(_) => &["reached, then 0", "reached, then 130"],
            How::Keep(_) => &["reached"],
        };
        let context = format!("{place}\n{result}");
        assert!(expected.contains(&result.exit.as_str()), "expected {expected:?}: {context}");
        for part in rule.map(|rule| rule.prints).unwrap_or_default() {
            assert!(result.text().contains(part), "{part:?} is not in the output of {context}");
        }
        if let Some(expected) = &command.output {
            let variable = rule.map(|rule| rule.variable).unwrap_or_default();
            output::compare(expected, &result.text(), variable).unwrap_or_else(|difference| {
                panic!("the document shows another output: {difference}\n{context}")
            });
        }
    }
}

#[tokio::test]
async fn readme() {
    run("README.md").await;
}

#[tokio::test]
async fn data_directory() {
    run("docs/data-directory.md").await;
}

#[tokio::test]
async fn envoy() {
    run("docs/envoy.md").await;
}

#[tokio::test]
async fn grpc() {
    run("docs/grpc.md").await;
}

#[tokio::test]
async fn the_commands_of_the_document_about_mesh_identities_work() {
    run("docs/identity.md").await;
}

#[tokio::test]
async fn kubernetes() {
    run("docs/kubernetes.md").await;
}

#[tokio::test]
async fn manifests() {
    run("deploy/kubernetes/README.md").await;
}

#[tokio::test]
async fn metrics() {
    run("docs/metrics.md").await;
}

#[tokio::test]
async fn tls() {
    run("docs/tls.md").await;
}

#[tokio::test]
async fn tokens() {
    run("docs/tokens.md").await;
}

/// A document with commands needs a test above, and a rule or an exception must match a command.
#[test]
fn every_command_is_run_or_listed_with_a_reason() {
    let tested = [
        "README.md",
        "deploy/kubernetes/README.md",
        "docs/data-directory.md",
        "docs/envoy.md",
        "docs/grpc.md",
        "docs/identity.md",
        "docs/kubernetes.md",
        "docs/metrics.md",
        "docs/tls.md",
        "docs/tokens.md",
    ];
    let (mut used, mut skipped) = (BTreeSet::new(), BTreeSet::new());
    for document in documents() {
        let text = fs::read_to_string(Path::new(ROOT).join(&document)).unwrap();
        for block in block::parse(&text) {
            let first = block.commands[0].key();
            if let Some(index) = NOT_RUN.iter().position(|(of, it, _)| *of == document && *it == first) {
                skipped.insert(index);
                continue;
            }
            assert!(tested.contains(&&*document), "no test runs the commands of {document}: {first}");
            used.extend(
                block
                    .commands
                    .iter()
                    .filter_map(|command| RULES.iter().position(|rule| rule.matches(&document, command))),
            );
        }
    }
    let unused: Vec<_> = RULES.iter().enumerate().filter(|(index, _)| !used.contains(index)).collect();
    assert!(unused.is_empty(), "rules without a command: {unused:#?}");
    assert_eq!(skipped.len(), NOT_RUN.len(), "an entry of NOT_RUN has no block: {NOT_RUN:#?}");
}

/// The load test of README at its full size, with a release build: `make soak`.
#[tokio::test]
#[ignore = "needs a release build and a quiet machine"]
async fn full_load() {
    let documented = blocks("README.md").into_iter().flat_map(|block| block.commands);
    let load: Vec<_> = documented.filter(|command| command.text.starts_with("headcount simulate")).collect();
    let [load] = load.as_slice() else { panic!("one load test: {load:?}") };
    let Some(mut session) = Session::new("docs/metrics.md") else { return };
    session.add(load, None);
    let results = session.run().await;
    assert_eq!(results[0].exit, "0", "{}", results[0]);
    println!("{}", results[0]);
}
