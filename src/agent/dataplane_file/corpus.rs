//! The corpus in `tests/documents`: documents in the forms that Kuma's users, its generators and its
//! API write, each with the expected result.
//!
//! A case begins with a line `#### what it is`. The lines below it that begin with `#=` are the
//! expected summary, and the rest is the document, exactly as an agent would read it.

use std::{fmt::Write as _, fs, path::Path};

use super::{Application, DataplaneFile, FileInbound};
use crate::agent::probe::ProbeHandler;

/// The expected and the actual summary of each case in a file.
fn cases(text: &str) -> Vec<(String, String, String)> {
    let cases = text.split("#### ").skip(1).map(|case| {
        let (name, case) = case.split_once('\n').expect("a document");
        let expected = |line: &&str| line.starts_with("#=");
        let summary = case.lines().filter(expected).map(|line| line[2..].trim_start().to_owned() + "\n");
        let document: Vec<_> = case.lines().filter(|line| !expected(line)).collect();
        (name.to_owned(), summary.collect(), self::summary(&document.join("\n")))
    });
    cases.collect()
}

/// What the agent makes of a document: the error, or the dataplane, its inbounds and the warnings.
fn summary(document: &str) -> String {
    let file = match DataplaneFile::parse(document) {
        Ok(file) => file,
        Err(error) => return format!("error {error}\n"),
    };
    let dataplane = match file.dataplane() {
        Ok(dataplane) => dataplane,
        Err(error) => return format!("error {error}\n"),
    };
    let mut lines = format!("{} {}", dataplane.key, dataplane.environment.as_str());
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = write!(lines, " {name}={value}");
        }
    };
    field("workload", dataplane.workload.as_ref().map(ToString::to_string));
    field("zone", dataplane.zone.as_ref().map(ToString::to_string));
    field("address", Some(dataplane.address.to_string()));
    field("admin", file.admin_port.map(|port| port.to_string()));
    field("labels", Some(dataplane.labels.iter().count().to_string()));
    if !file.proxy_may_be_ready {
        lines.push_str(" not ready");
    }
    lines.push('\n');
    for (inbound, health) in dataplane.inbounds.iter().zip(&file.inbounds) {
        let name = if inbound.name.is_empty() { String::new() } else { format!(" {:?}", &*inbound.name) };
        let _ = writeln!(lines, "{}{name} {}", inbound.port, state(health));
    }
    for warning in file.warnings.iter().chain(&dataplane.warnings()) {
        let _ = writeln!(lines, "warning {warning}");
    }
    lines
}

fn state(inbound: &FileInbound) -> String {
    if !inbound.may_be_ready {
        return "not ready".to_owned();
    }
    let probe = |Application { host, port, probe, .. }: &Application| match probe {
        None => "as the proxy".to_owned(),
        Some(probe) => {
            let handler = match &probe.handler {
                ProbeHandler::Tcp => "tcp".to_owned(),
                ProbeHandler::Http(path) => format!("http {path}"),
            };
            format!("{handler} {host} {port}")
        }
    };
    inbound.applications.iter().map(probe).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_document_of_the_corpus_has_the_expected_result() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documents"));
    let (mut count, mut differences) = (0, String::new());
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        for (name, expected, actual) in cases(&fs::read_to_string(&file).unwrap()) {
            count += 1;
            if expected != actual {
                let file = file.file_name().unwrap().display();
                let _ = writeln!(differences, "{file}: {name}\nexpected:\n{expected}actual:\n{actual}");
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
    assert!(count >= 50, "{count} documents: the corpus is not complete");
}
