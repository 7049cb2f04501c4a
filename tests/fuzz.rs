//! Replays the fuzzing corpus, without a fuzzer: the properties in `fuzz/src` must hold for every file of
//! `fuzz/corpus`, which has inputs that the fuzzer found and handwritten ones. The property of Envoy
//! nodes is also checked with random nodes.

// A test crate has no public API: `pub` means "visible in this crate".
#![allow(unreachable_pub)]

#[path = "fuzz/nodes.rs"]
mod nodes;
#[path = "../fuzz/src/lib.rs"]
mod properties;

use std::{fs, panic, path::Path};

use properties::{
    access_file, backup, certificate, contexts, dataplane_file, envoy_node, envoy_report, filter, hello,
    jwks, jwt, kube_request, mesh_identity, report, service_account, store_file, token,
};

#[track_caller]
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(&corpus)
        .expect("a corpus directory")
        .map(|entry| entry.expect("a readable corpus").path())
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 5, "{} has {} inputs", corpus.display(), inputs.len());
    let failed: Vec<_> = inputs
        .iter()
        .filter(|path| panic::catch_unwind(|| check(&fs::read(path).expect("a readable input"))).is_err())
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_corpus_of_access_file() {
    replay("access_file", access_file::check);
}

#[test]
fn the_corpus_of_backup() {
    replay("backup", backup::check);
}

#[test]
fn the_corpus_of_contexts() {
    replay("contexts", contexts::check);
}

#[test]
fn the_corpus_of_hello() {
    replay("hello", hello::check);
}

#[test]
fn the_corpus_of_mesh_identity() {
    replay("mesh_identity", mesh_identity::check);
}

#[test]
fn the_corpus_of_report() {
    replay("report", report::check);
}

#[test]
fn the_corpus_of_filter() {
    replay("filter", filter::check);
}

#[test]
fn the_corpus_of_jwt() {
    replay("jwt", jwt::check);
}

#[test]
fn the_corpus_of_certificate() {
    replay("certificate", certificate::check);
}

#[test]
fn the_corpus_of_jwks() {
    replay("jwks", jwks::check);
}

#[test]
fn the_corpus_of_service_account() {
    replay("service_account", service_account::check);
}

#[test]
fn the_corpus_of_token() {
    replay("token", token::check);
}

#[test]
fn the_corpus_of_dataplane_file() {
    replay("dataplane_file", dataplane_file::check);
}

#[test]
fn the_corpus_of_kube_request() {
    replay("kube_request", kube_request::check);
}

#[test]
fn the_corpus_of_store_file() {
    replay("store_file", store_file::check);
}

#[test]
fn the_corpus_of_envoy_node() {
    replay("envoy_node", envoy_node::check);
}

#[test]
fn the_corpus_of_envoy_report() {
    replay("envoy_report", envoy_report::check);
}
