//! Replays what the fuzzer found and what people thought of: every file of
//! `fuzz/corpus` keeps the properties of `fuzz/src`. To keep an input that
//! broke one, copy it there. Nodes of Envoys are also made at random.

// Nothing outside can name what a test crate has.
#![allow(unreachable_pub)]

#[path = "fuzz/nodes.rs"]
mod nodes;
#[path = "../fuzz/src/lib.rs"]
mod properties;

use std::{fs, panic, path::Path};

use properties::{dataplane_file, envoy_node, envoy_report, filter, hello, kube_request, report, token};

#[track_caller]
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(&corpus)
        .expect("a corpus for each target")
        .map(|entry| entry.expect("a readable corpus").path())
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 5, "{} has {} inputs", corpus.display(), inputs.len());
    let broken: Vec<_> = inputs
        .iter()
        .filter(|path| panic::catch_unwind(|| check(&fs::read(path).expect("a readable input"))).is_err())
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn hellos() {
    replay("hello", hello::check);
}

#[test]
fn reports() {
    replay("report", report::check);
}

#[test]
fn filters() {
    replay("filter", filter::check);
}

#[test]
fn tokens() {
    replay("token", token::check);
}

#[test]
fn dataplane_files() {
    replay("dataplane_file", dataplane_file::check);
}

#[test]
fn requests_of_kubernetes_clients() {
    replay("kube_request", kube_request::check);
}

#[test]
fn first_messages_of_envoys() {
    replay("envoy_node", envoy_node::check);
}

#[test]
fn reports_of_envoys() {
    replay("envoy_report", envoy_report::check);
}
