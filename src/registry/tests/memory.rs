//! The memory of registrations: what the limits do, and that its sum is exact.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokio::time::Instant;

use super::{super::admission::footprint, *};

/// A dataplane whose size depends on `size`.
fn sized(mesh: &str, name: &str, workload: &str, size: usize) -> Dataplane {
    let mut labels: BTreeMap<_, _> =
        (0..size).map(|n| (format!("label-{n}"), "x".repeat(40 + n % 20))).collect();
    labels.insert(WORKLOAD_LABEL.to_owned(), workload.to_owned());
    let spec = DataplaneSpec { mesh: mesh.into(), name: name.into(), labels, ..DataplaneSpec::default() };
    Dataplane::parse(&spec, DataplaneLimits::default()).unwrap()
}

/// A registry with room for so many dataplanes of size 1, in all and in each mesh.
fn registry_for(all: usize, per_mesh: usize) -> Registry {
    let one = footprint(&sized("default", "a", "web", 1));
    Registry::new(RegistrySettings {
        max_registered_bytes: all * one,
        max_registered_bytes_per_mesh: per_mesh * one,
        ..settings()
    })
}

fn names(registry: &Registry) -> Vec<String> {
    let (views, _) = registry.dataplanes(|_| true, usize::MAX, None);
    views.iter().map(|view| view.dataplane.key.to_string()).collect()
}

#[test]
fn the_memory_limit_rejects_new_dataplanes_but_no_takeover() {
    let registry = registry_for(2, 2);
    let open = |name| connect(&registry, sized("default", name, "web", 1)).map(|connected| connected.session);
    let (a, b) = (open("a").unwrap(), open("b").unwrap());
    let limit = registry.registered_bytes();
    assert_eq!(
        open("c").unwrap_err(),
        LimitReached::MeshRegisteredBytes { mesh: a.dataplane().key.mesh.clone(), limit }.into()
    );
    let newer = open("a").unwrap();
    drop(a);
    assert_eq!(registry.registered_bytes(), limit);
    assert!(connect(&registry, sized("default", "a", "web", 9)).is_err(), "it is larger than before");
    assert!(connect(&registry, sized("default", "a", "web", 0)).is_ok(), "it is smaller than before");
    drop((newer, b));
}

#[test]
fn a_takeover_that_a_limit_rejects_does_not_count_as_one() {
    let registry = registry_for(3, 3);
    let open = |instance, size| {
        let options = ConnectOptions { client: agent(instance, 1), ..ConnectOptions::new(Duration::MAX) };
        connect_with(&registry, sized("default", "a", "web", size), options)
    };
    let _first = open(1, 1).unwrap().session;
    for instance in 2..5 {
        let rejected = open(instance, 40).unwrap_err();
        assert!(
            matches!(rejected, ConnectError::Limit(LimitReached::MeshRegisteredBytes { .. })),
            "{rejected:?}"
        );
    }
    assert_eq!(registry.shared.histories.len(), 0);
    let _second = open(4, 1).expect("the first takeover").session;
    assert!(matches!(open(5, 1), Err(ConnectError::HeldOff { .. })), "the second one");
}

#[test]
fn lost_dataplanes_make_room_for_a_takeover() {
    let registry = registry_for(3, 3);
    let open = |name, instance, size| {
        let options = ConnectOptions { client: agent(instance, 1), ..ConnectOptions::new(Duration::MAX) };
        connect_with(&registry, sized("default", name, "web", size), options)
    };
    drop((open("b", 8, 1).unwrap(), open("c", 9, 1).unwrap()));
    let _first = open("a", 1, 1).unwrap().session;
    let _larger = open("a", 2, 2).expect("the first takeover").session;
    assert_eq!(registry.held_off(), 0);
}

#[test]
fn the_dataplanes_of_the_mesh_that_were_lost_for_longest_make_room() {
    let registry = registry_for(6, 3);
    let open = |mesh, name, size| connect(&registry, sized(mesh, name, "web", size));
    for (mesh, name) in [("other", "x"), ("default", "a"), ("default", "b"), ("default", "c")] {
        drop(open(mesh, name, 1).unwrap());
    }
    let _large = open("default", "d", 5).unwrap();
    assert_eq!(names(&registry), ["default/default/c", "default/default/d", "other/default/x"]);
    let too_large = open("default", "e", 63).unwrap_err();
    assert!(
        matches!(too_large, ConnectError::Limit(LimitReached::MeshRegisteredBytes { .. })),
        "{too_large:?}"
    );
    assert_eq!(names(&registry).len(), 3, "nothing makes room for a dataplane that can never fit");
}

#[test]
fn a_full_mesh_leaves_room_for_the_others() {
    let registry = registry_for(4, 2);
    let open = |mesh, name| connect(&registry, sized(mesh, name, "web", 1));
    let _full: Vec<_> = ["a", "b"].map(|name| open("default", name).unwrap()).into();
    assert!(open("default", "c").is_err());
    let other = open("others", "c").unwrap();
    assert_eq!(counts(&registry, "web"), Some((2, 0, 2)));
    drop(other);
}

/// The clients of a random history.
const ADDRESSES: [&str; 2] = ["192.0.2.1:1000", "192.0.2.2:1000"];

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    /// Mesh, name, workload and size, and the client's address.
    Connect(usize, usize, usize, usize, usize),
    /// The number of an open session.
    Lose(usize),
    Goodbye(usize),
    /// All lost dataplanes expire.
    Expire,
    /// The one lost for longest expires.
    Evict,
    /// All sessions are idle for too long, but their streams remain.
    Idle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2usize, 0..4usize, 0..3usize, 0..6usize, 0..2usize)
            .prop_map(|(m, n, w, s, a)| Step::Connect(m, n, w, s, a)),
        3 => any::<usize>().prop_map(Step::Lose),
        2 => any::<usize>().prop_map(Step::Goodbye),
        1 => Just(Step::Expire),
        1 => Just(Step::Evict),
        1 => Just(Step::Idle),
    ]
}

/// The memory of the registrations, and of the sessions that no longer count but still hold
/// the dataplane of their hello.
fn recount(registry: &Registry, sessions: &[Session]) -> usize {
    let (views, _) = registry.dataplanes(|_| true, usize::MAX, None);
    let registered = views.iter().map(|view| &view.dataplane);
    let mut held: Vec<_> = registered.chain(sessions.iter().map(Session::dataplane)).collect();
    held.sort_unstable_by_key(|dataplane| std::sync::Arc::as_ptr(dataplane));
    held.dedup_by_key(|dataplane| std::sync::Arc::as_ptr(dataplane));
    let account = Accounts::of(None, ADDRESSES[0].parse().ok()).memory();
    held.into_iter().map(|dataplane| footprint(dataplane) + account).sum()
}

proptest! {
    #[test]
    fn the_sum_equals_a_recount_and_is_zero_at_the_end(
        steps in proptest::collection::vec(step(), 1..60),
        limit in prop_oneof![Just(usize::MAX / 2), 1..8usize],
    ) {
        let registry = registry_for_steps(limit);
        let mut sessions: Vec<Session> = Vec::new();
        let late = || Instant::now() + Duration::from_hours(1);
        for step in steps {
            match step {
                Step::Connect(mesh, name, workload, size, address) => {
                    let (mesh, name) = (["default", "other"][mesh], ["a", "b", "c", "d"][name]);
                    let workload = ["web", "api", ""][workload];
                    let peer = Some(ADDRESSES[address].parse().unwrap());
                    let client = Client { peer, ..Client::default() };
                    let options = ConnectOptions { client, ..ConnectOptions::new(Duration::from_mins(1)) };
                    let connected = connect_with(&registry, sized(mesh, name, workload, size), options);
                    sessions.extend(connected.map(|connected| connected.session));
                }
                Step::Lose(number) if !sessions.is_empty() => {
                    drop(sessions.swap_remove(number % sessions.len()));
                }
                Step::Goodbye(number) if !sessions.is_empty() => {
                    sessions.swap_remove(number % sessions.len()).goodbye();
                }
                Step::Lose(_) | Step::Goodbye(_) => {}
                Step::Expire => registry.shared.expire(late()),
                Step::Evict => { registry.shared.expire_oldest(None); }
                Step::Idle => registry.shared.lose_idle(late()),
            }
            prop_assert_eq!(registry.registered_bytes(), recount(&registry, &sessions));
            let (views, _) = registry.dataplanes(|_| true, usize::MAX, None);
            let connected = registry.shared.capacity.sessions();
            // Each client has one account.
            let charged = [connected, views.len(), registry.registered_bytes()];
            prop_assert_eq!(registry.shared.capacity.charged(), charged);
        }
        sessions.clear();
        registry.shared.expire(late());
        prop_assert_eq!(names(&registry), Vec::<String>::new());
        prop_assert_eq!(registry.registered_bytes(), 0);
        prop_assert_eq!(registry.shared.capacity.charged(), [0; 3]);
        prop_assert!(registry.meshes().is_empty());
    }
}

fn registry_for_steps(limit: usize) -> Registry {
    let one = footprint(&sized("default", "a", "web", 1));
    let bytes = one.saturating_mul(limit);
    Registry::new(RegistrySettings {
        max_registered_bytes: bytes,
        max_registered_bytes_per_mesh: bytes / 2,
        max_client_share: 100,
        ..settings()
    })
}
