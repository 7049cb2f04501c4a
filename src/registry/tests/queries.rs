//! Reads and listings.

use super::{
    super::{DataplaneView, PageError},
    *,
};
use crate::model::Filter;

#[test]
fn a_lookup_of_an_unknown_workload_creates_no_entry() {
    let registry = registry();
    assert!(registry.get(&key("nobody")).0.is_none());
    assert!(registry.shared.entries.all().is_empty());
    assert_eq!(registry.head(), 0);
}

#[test]
fn pages_of_a_listing_show_one_revision() {
    let registry = registry();
    let mut sessions: Vec<_> = ["a", "b", "c"].map(|name| join(&registry, name, name)).into();
    let first = registry.list(&Filter::default(), 2, None, None).unwrap();
    assert_eq!(first.workloads.len(), 2);
    let after = first.next_after.clone().unwrap();
    sessions.pop().unwrap().goodbye();
    sessions.push(join(&registry, "d", "d"));
    let second = registry.list(&Filter::default(), 2, Some(first.revision), Some(&after)).unwrap();
    assert_eq!(second.workloads[0].key(), &key("c"), "deleted now, but not at the listing's revision");
    assert_eq!((second.workloads.len(), second.next_after, second.revision), (1, None, first.revision));
}

#[test]
fn a_listing_older_than_the_log_is_an_error() {
    let registry = Registry::new(RegistrySettings { log_capacity: 2, ..settings() });
    let _sessions = ["a", "b", "c"].map(|name| join(&registry, name, name));
    assert_eq!(registry.list(&Filter::default(), 2, Some(0), None).unwrap_err(), PageError { revision: 0 });
}

#[test]
fn dataplanes_are_listed_in_pages() {
    let registry = registry();
    let _sessions = ["c", "a", "b"].map(|name| join(&registry, name, "web"));
    let (page, next_after) = registry.dataplanes(|_| true, 2, None);
    let names =
        |page: &[DataplaneView]| page.iter().map(|v| v.dataplane.key.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&page), ["a", "b"]);
    let (page, end) = registry.dataplanes(|_| true, 2, next_after.as_ref());
    assert_eq!((names(&page), end), (vec!["c".to_owned()], None));
}
