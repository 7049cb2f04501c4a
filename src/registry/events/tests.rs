use std::time::Duration;

use super::*;
use crate::model::{Namespace, WorkloadName};

fn key(name: &str) -> WorkloadKey {
    WorkloadKey {
        namespace: Namespace::parse("", "").unwrap(),
        name: WorkloadName::parse_universal("", name).unwrap(),
    }
}

fn record(log: &EventLog, name: &str, second: u64) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    let regarding = Regarding::Workload(key(name));
    log.record(Reason::MultipleMeshesDetected, regarding, None, format!("at {second}"), now);
}

fn name(event: &Event) -> &str {
    match &event.regarding {
        Regarding::Workload(key) => key.name.as_str(),
        Regarding::Proxy(proxy) => proxy.name(),
    }
}

#[test]
fn rejections_push_out_rejections_only() {
    let log = EventLog::default();
    let record_proxy = |reason, name: &str| {
        let regarding = Regarding::Proxy(UnknownProxy::new(Namespace::parse("", "").unwrap(), name));
        log.record(reason, regarding, None, String::new(), SystemTime::UNIX_EPOCH);
    };
    record(&log, "a", 1);
    record_proxy(Reason::DuplicateIdentity, "b");
    for n in 0..2 * CAPACITY {
        record_proxy(Reason::DataplaneRefused, &format!("p{n}"));
    }
    let (events, _) = log.after(0);
    assert_eq!(events.len(), 1 + MAX_ABOUT_PROXIES);
    assert_eq!((name(&events[0]), name(&events[1]), name(&events[2])), ("a", "b", "p1801"));
    for n in 0..2 * CAPACITY {
        record_proxy(Reason::DuplicateIdentity, &format!("d{n}"));
    }
    let (events, _) = log.after(0);
    let rejections = events.iter().filter(|event| event.reason == Reason::DataplaneRefused).count();
    assert_eq!((events.len(), rejections), (1 + MAX_ABOUT_PROXIES, MAX_ABOUT_PROXIES / 2));
}

#[test]
fn the_name_of_an_unknown_proxy_is_truncated_and_printable() {
    let proxy =
        UnknownProxy::new(Namespace::parse("", "").unwrap(), &format!("\u{1b}[31mé{}", "x".repeat(1_000)));
    assert!(proxy.name().starts_with("?[31m?xxx"), "{}", proxy.name());
    assert_eq!(proxy.name().len(), MAX_NAME);
}

#[test]
fn a_long_message_is_truncated() {
    let log = EventLog::default();
    let regarding = Regarding::Workload(key("a"));
    let message = format!("a{}", "é".repeat(10_000));
    log.record(Reason::MultipleMeshesDetected, regarding, None, message, SystemTime::UNIX_EPOCH);
    assert_eq!(log.after(0).0[0].message.len(), MAX_MESSAGE - 1);
}

#[test]
fn a_repetition_is_counted_and_moves_to_the_end() {
    let log = EventLog::default();
    record(&log, "a", 1);
    record(&log, "b", 2);
    let (_, seen) = log.after(0);
    record(&log, "a", 3);
    let (events, head) = log.after(0);
    let summary: Vec<_> = events.iter().map(|e| (name(e), e.count, e.message.as_str())).collect();
    assert_eq!(summary, [("b", 1, "at 2"), ("a", 2, "at 3")]);
    assert_eq!(events[1].first_time, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    assert_eq!((events[1].first_number, events[1].number, head), (1, 3, 3));
    let (later, same_head) = log.after(seen);
    assert_eq!((later.len(), same_head), (1, head));
    assert_eq!(later[0].uid, events[1].uid);
}

#[test]
fn numbers_of_another_run_are_not_reached() {
    let log = EventLog::default();
    log.begin_after(1_000);
    record(&log, "a", 1);
    assert_eq!(log.after(1_000).0[0].number, 1_001);
    for (number, reached) in [(999, false), (1_000, true), (1_001, true), (1_002, false)] {
        assert_eq!(log.reaches(number), reached, "{number}");
    }
}

#[test]
fn a_mesh_with_many_events_pushes_out_its_own() {
    let log = EventLog::default();
    let mesh = |name: &str| Some(MeshName::parse("", name).unwrap());
    let conflict = |mesh: Option<MeshName>, name: &str| {
        let (reason, regarding) = (Reason::MultipleMeshesDetected, Regarding::Workload(key(name)));
        log.record(reason, regarding, mesh, String::new(), SystemTime::UNIX_EPOCH);
    };
    conflict(mesh("default"), "real");
    for n in 0..2_200 {
        conflict(mesh("invented"), &format!("w{n}"));
    }
    let (events, _) = log.after(0);
    assert_eq!(events.len(), CAPACITY);
    assert_eq!((name(&events[0]), name(&events[1])), ("real", "w1201"));
}

/// The mesh of an event may change with a repetition: it is the mesh that holds the name.
#[test]
fn the_shares_match_the_events() {
    let log = EventLog::default();
    for n in 0..3_000_u64 {
        let mesh = (n % 3 > 0).then(|| MeshName::parse("", &format!("m{}", n % 5)).unwrap());
        let regarding = Regarding::Workload(key(&format!("w{}", n % 1_100)));
        let reason = Reason::MultipleMeshesDetected;
        log.record(reason, regarding, mesh, String::new(), SystemTime::UNIX_EPOCH);
    }
    let state = log.state.lock();
    assert_eq!(state.shares.values().map(BTreeSet::len).sum::<usize>(), state.by_number.len());
    let sizes: BTreeSet<_> =
        state.shares.iter().map(|(share, numbers)| (numbers.len(), share.clone())).collect();
    assert_eq!(state.by_size, sizes);
    for (share, numbers) in &state.shares {
        let has_share = |number| {
            let event = &state.by_number[number];
            (event.reason, event.mesh.clone()) == *share
        };
        assert!(numbers.iter().all(has_share), "{share:?}");
    }
}

#[test]
fn a_new_event_replaces_the_oldest() {
    let log = EventLog::default();
    for n in 0..CAPACITY + 5 {
        record(&log, &format!("w{n}"), 0);
    }
    let (events, _) = log.after(0);
    assert_eq!(events.len(), CAPACITY);
    assert_eq!(name(&events[0]), "w5");
    record(&log, "w0", 0);
    assert_eq!(log.after(0).0.last().unwrap().count, 1, "a removed event starts again");
}
