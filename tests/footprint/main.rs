//! Compares the memory that the registry accounts for with the memory that the process takes. A test
//! binary of its own, because resident memory is that of the whole process.

use std::{collections::BTreeMap, fs, mem, time::Duration};

use futures_util::FutureExt as _;
use headcount::{
    model::{Dataplane, DataplaneLimits, DataplaneSpec, InboundSpec, WORKLOAD_LABEL},
    registry::{ConnectOptions, Registry, RegistrySettings},
};

/// What else grows with the process, such as the shards of the registry's maps.
const SLACK: usize = 1024 * 1024;

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// Dataplanes of one kind.
struct Shape {
    name: &'static str,
    count: usize,
    /// The accounted memory is at most so many times the resident memory.
    factor: usize,
    dataplane: fn(usize) -> DataplaneSpec,
}

fn spec(name: String, workload: String) -> DataplaneSpec {
    DataplaneSpec {
        mesh: "default".into(),
        name,
        labels: BTreeMap::from([(WORKLOAD_LABEL.into(), workload)]),
        ..DataplaneSpec::default()
    }
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "the smallest, each with a Workload of its own",
        count: 8_000,
        factor: 2,
        dataplane: |n| spec(format!("p{n}"), format!("w{n}")),
    },
    Shape {
        name: "replicas, which share nearly everything",
        count: 8_000,
        factor: 8,
        dataplane: |n| {
            let mut spec = spec(format!("web-{n}"), format!("web-{}", n / 100));
            spec.labels.extend((0..10).map(|label| (format!("label-{label}"), "value".to_owned())));
            spec.inbounds = vec![InboundSpec { port: 80, ..InboundSpec::default() }];
            spec
        },
    },
    Shape {
        name: "distinct ones, each with a Workload of its own",
        count: 4_000,
        factor: 2,
        dataplane: |n| {
            let mut spec = spec(format!("web-{n}"), format!("web-{n}"));
            spec.labels.extend((0..10).map(|label| (format!("label-{n}-{label}"), format!("value-{n}"))));
            spec.address = format!("10.0.{}.{}", n / 256, n % 256);
            spec.inbounds = vec![InboundSpec {
                port: 80,
                tags: BTreeMap::from([("kuma.io/service".into(), format!("web-{n}"))]),
                ..InboundSpec::default()
            }];
            spec
        },
    },
    Shape {
        name: "the largest, each with a Workload of its own",
        count: 100,
        factor: 2,
        dataplane: |n| {
            let mut spec = spec(format!("p{n:062}"), format!("w{n:062}"));
            spec.labels.extend((0..63).map(|label| (format!("{n:031}{label:032}"), format!("{n:063}"))));
            let tag = |tag| (format!("{n:0100}{tag:0100}"), format!("{n:0250}"));
            let inbound =
                |port| InboundSpec { port, tags: (0..8).map(tag).collect(), name: format!("{n:063}") };
            spec.inbounds = (1..=64).map(inbound).collect();
            spec
        },
    },
];

#[test]
fn the_accounted_memory_is_never_less_than_the_resident_memory() {
    for Shape { name, count, factor, dataplane } in SHAPES {
        for lost in [false, true] {
            let settings = RegistrySettings {
                // The change log has a bound of its own.
                log_capacity: 1,
                max_session_rate: usize::MAX,
                flap_interval: Duration::ZERO,
                ..RegistrySettings::default()
            };
            let registry = Registry::new(settings);
            let before = resident_bytes();
            for n in 0..count {
                let dataplane = Dataplane::parse(&dataplane(n), DataplaneLimits::default()).unwrap();
                let connected = registry.connect(dataplane, ConnectOptions::new(Duration::from_hours(1)));
                let session = connected.now_or_never().expect("no throttle, no wait").unwrap().session;
                if lost {
                    drop(session);
                } else {
                    mem::forget(session);
                }
            }
            let resident = resident_bytes().saturating_sub(before);
            let accounted = registry.registered_bytes();
            let each = |bytes: usize| bytes / count;
            println!(
                "{name}, lost: {lost}: {} bytes accounted, {} bytes resident each",
                each(accounted),
                each(resident)
            );
            assert!(
                resident <= accounted + SLACK,
                "{name}: {resident} bytes resident, {accounted} accounted"
            );
            assert!(
                accounted <= factor * resident,
                "{name}: {resident} bytes resident, {accounted} accounted"
            );
            // Its memory must not be used again by the next shape.
            mem::forget(registry);
        }
    }
}
