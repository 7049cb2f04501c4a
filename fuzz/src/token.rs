//! A token that the server issues is accepted for its filter only, and leads to where it was issued.
//! An accepted token is, byte by byte, one that the server could have issued, and never leads beyond
//! the newest revision.

use std::sync::LazyLock;

use headcount::{
    model::{Dataplane, DataplaneLimits, DataplaneSpec, WORKLOAD_LABEL, WorkloadKey},
    registry::token::{self, PageToken},
    registry::{Position, Registry, RegistrySettings, Session},
};

use super::rules;

/// Placeholder in inputs for the registry's epoch, which differs in each run.
const EPOCH: &str = "EPOCH";
/// Fingerprint of the filter that the tokens in the corpus are for.
const FINGERPRINT: u64 = 7;

/// A registry with a few revisions.
static REGISTRY: LazyLock<(Registry, Vec<Session>)> = LazyLock::new(|| {
    let registry = Registry::new(RegistrySettings::default());
    let sessions = ["a", "b", "c"].map(|workload| super::connect(&registry, dataplane(workload)));
    (registry, sessions.into())
});

fn dataplane(workload: &str) -> Dataplane {
    let spec = DataplaneSpec {
        mesh: "default".into(),
        name: workload.into(),
        labels: [(WORKLOAD_LABEL.to_owned(), workload.to_owned())].into(),
        ..DataplaneSpec::default()
    };
    Dataplane::parse(&spec, DataplaneLimits::default()).expect("a valid dataplane")
}

/// Input: a token as text. If it contains a dot, its parts also name the Workload of issued tokens.
pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let (registry, _) = &*REGISTRY;
    let text = text.replace(EPOCH, registry.epoch());
    check_resume(registry, &text);
    check_page(registry, &text);
    if let Some((namespace, name)) = text.split_once('.')
        && let Ok(key) = WorkloadKey::parse(namespace, name)
    {
        check_issued(registry, input, &key);
    }
}

fn check_resume(registry: &Registry, text: &str) {
    match token::read_resume(registry, text, FINGERPRINT) {
        Ok(Some(Position(revision))) => {
            assert!(revision <= registry.head(), "{text:?} leads to {revision}");
            assert_eq!(token::resume(registry, revision, FINGERPRINT), text);
        }
        // A token of another epoch or another filter restarts the watch with a snapshot.
        Ok(None) => assert!(text.is_empty() || text.starts_with("r1."), "{text:?}"),
        Err(invalid) => {
            rules::assert_printable(&invalid);
            assert_eq!(invalid.field, "resume_token");
        }
    }
}

fn check_page(registry: &Registry, text: &str) {
    match token::read_page(registry, text, FINGERPRINT) {
        Ok(PageToken::Next { revision, after }) => {
            assert!(revision <= registry.head(), "{text:?} leads to {revision}");
            assert_eq!(token::page(registry, revision, FINGERPRINT, &after), text);
        }
        Ok(PageToken::First) => assert_eq!(text, ""),
        Ok(PageToken::Stale) => assert!(text.starts_with("p1."), "{text:?}"),
        Err(invalid) => {
            rules::assert_printable(&invalid);
            assert_eq!(invalid.field, "page_token");
        }
    }
}

/// Tokens that the registry issues are accepted, for their filter only.
fn check_issued(registry: &Registry, input: &[u8], after: &WorkloadKey) {
    let fingerprint = input.iter().fold(0, |sum: u64, byte| sum.rotate_left(7) ^ u64::from(*byte));
    for revision in 0..=registry.head() {
        let resume = token::resume(registry, revision, fingerprint);
        assert_eq!(token::read_resume(registry, &resume, fingerprint), Ok(Some(Position(revision))));
        assert_eq!(token::read_resume(registry, &resume, !fingerprint), Ok(None));
        let page = token::page(registry, revision, fingerprint, after);
        let next = PageToken::Next { revision, after: after.clone() };
        assert_eq!(token::read_page(registry, &page, fingerprint), Ok(next));
        assert!(token::read_page(registry, &page, !fingerprint).is_err(), "{page}");
    }
    let beyond = registry.head() + 1;
    let resume = token::resume(registry, beyond, fingerprint);
    assert!(token::read_resume(registry, &resume, fingerprint).is_err(), "{resume}");
    let page = token::page(registry, beyond, fingerprint, after);
    assert!(token::read_page(registry, &page, fingerprint).is_err(), "{page}");
}
