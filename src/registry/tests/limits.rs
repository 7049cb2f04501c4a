//! Limits, and the conflict of meshes.

use tokio::time::Instant;

use super::*;
use crate::model::DataplaneKey;

#[test]
fn a_second_mesh_gets_a_warning_and_one_event() {
    let registry = registry();
    let holder = join(&registry, "a", "web");
    let mut others = Vec::new();
    for name in ["b", "c"] {
        let connected = connect(&registry, dataplane_in("other", name, "web")).unwrap();
        assert!(connected.warnings[0].contains("mesh default holds the name"), "{:?}", connected.warnings);
        others.push(connected.session);
    }
    let (events, _) = registry.events().after(0);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].count, 2);
    assert_eq!(
        events[0].message,
        "Skipping Workload generation: namespace default has dataplanes in multiple meshes (2 meshes) for workload \
         web. This configuration is not supported."
    );
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)));
    holder.goodbye();
    let workload = registry.get(&key("web")).0.unwrap();
    assert_eq!((workload.identity.mesh.as_str(), workload.counts.total), ("other", 2));
}

#[test]
fn the_session_limit_rejects_new_sessions_but_no_takeover() {
    let settings = RegistrySettings { max_sessions: 1, ..settings() };
    let registry = Registry::new(settings);
    let first = join(&registry, "a", "web");
    assert_eq!(
        connect(&registry, dataplane("b", "web")).unwrap_err(),
        LimitReached::Sessions { limit: 1 }.into()
    );
    assert_eq!(registry.dataplanes(|_| true, 9, None).0.len(), 1, "a rejected dataplane is not registered");
    let second = join(&registry, "a", "web");
    drop(first);
    assert!(connect(&registry, dataplane("b", "web")).is_err());
    drop(second);
    let _room = join(&registry, "b", "web");
    assert!(connect(&registry, dataplane("a", "web")).is_err(), "a lost dataplane needs a session again");
}

#[test]
fn the_dataplane_lost_for_longest_makes_room_for_a_new_one() {
    let registry = Registry::new(RegistrySettings { max_dataplanes: 2, ..settings() });
    for name in ["a", "b"] {
        drop(join(&registry, name, "web"));
    }
    let _c = join(&registry, "c", "web");
    let (left, _) = registry.dataplanes(|_| true, 9, None);
    assert_eq!(left.iter().map(|view| view.dataplane.key.name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    let _b = join(&registry, "b", "web");
    assert_eq!(
        connect(&registry, dataplane("d", "web")).unwrap_err(),
        LimitReached::Dataplanes { limit: 2 }.into()
    );
}

#[tokio::test(start_paused = true)]
async fn registered_dataplanes_are_admitted_before_new_ones() {
    const RETRY: RetryBehavior = RetryBehavior::HonorsRetryAfter;
    let flap_interval = Duration::from_millis(100);
    let settings = RegistrySettings { max_session_rate: 10, flap_interval, ..RegistrySettings::default() };
    let registry = Registry::new(settings);
    let known = dataplane("known", "web");
    let session = connect(&registry, known.clone()).unwrap().session;
    let admit = |key: &DataplaneKey| registry.shared.rate_limiter.admit(registry.class(key), RETRY);
    assert_eq!(admit(&known.key), Ok(()));
    drop(session);
    let new = |n: usize| dataplane(&format!("p{n}"), "web").key;
    let admitted = (0..100).filter(|n| admit(&new(*n)).is_ok()).count();
    assert_eq!(admitted, 3, "half of ten, less the two before");
    assert_eq!(registry.check_session_rate(RETRY), Ok(()));
    let admitted = (0..100).filter(|_| admit(&known.key).is_ok()).count();
    assert_eq!(admitted, 5, "a lost dataplane is registered");
    let rejected = registry.check_session_rate(RETRY);
    assert!(matches!(rejected, Err(LimitReached::SessionRate { limit: 10, .. })));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(registry.check_session_rate(RETRY), Ok(()));
    assert_eq!(admit(&known.key), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_dataplane_that_has_just_connected_waits_for_its_flap_interval() {
    let flap_interval = Duration::from_millis(100);
    let registry = Registry::new(RegistrySettings { flap_interval, ..RegistrySettings::default() });
    let start = Instant::now();
    let _first = join(&registry, "a", "web");
    let cancelled =
        registry.connect(dataplane("a", "api"), ConnectOptions::new(Duration::MAX)).now_or_never();
    assert!(cancelled.is_none(), "it waits");
    assert_eq!((counts(&registry, "web"), counts(&registry, "api")), (Some((1, 0, 1)), None));
    let _second = registry.connect(dataplane("a", "api"), ConnectOptions::new(Duration::MAX)).await.unwrap();
    assert_eq!(start.elapsed(), flap_interval);
    assert_eq!((counts(&registry, "web"), counts(&registry, "api")), (None, Some((1, 0, 1))));
}

#[tokio::test(start_paused = true)]
async fn hellos_that_open_no_session_take_nothing_of_the_session_rate() {
    let flap_interval = Duration::from_millis(100);
    let settings = RegistrySettings { max_session_rate: 4, flap_interval, ..RegistrySettings::default() };
    let registry = Registry::new(settings);
    let hello = |name, instance| {
        let options = ConnectOptions { client: agent(instance, 1), ..ConnectOptions::new(Duration::MAX) };
        registry.connect(dataplane(name, "web"), options)
    };
    let _present = hello("a", 1).await.unwrap();
    let _taken_over = hello("a", 2).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for instance in 3..100 {
        assert!(matches!(hello("a", instance).await, Err(ConnectError::HeldOff { .. })), "{instance}");
    }
    assert!(hello("b", 100).await.is_ok());
    let replaced: Vec<_> = (101..200).map(|instance| hello("b", instance).now_or_never()).collect();
    assert!(replaced.iter().all(Option::is_none), "they wait for the flap interval");
    assert!(hello("c", 300).await.is_ok());
}
