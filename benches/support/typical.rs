//! The dataplane that all benchmarks use: five labels, one inbound with two
//! tags, and a name like that of a pod.

use std::collections::BTreeMap;

use headcount::model::{Dataplane, DataplaneLimits, DataplaneSpec, InboundSpec, WORKLOAD_LABEL};

/// Dataplanes of one workload: many for a real one. The cost of a report must not depend on it.
pub(crate) const PER_WORKLOAD: usize = 100;

/// The workload of the dataplane with this number.
pub(crate) fn workload(number: usize) -> String {
    format!("backend-{}", number / PER_WORKLOAD)
}

/// The dataplane with this number.
pub(crate) fn dataplane(number: usize) -> anyhow::Result<Dataplane> {
    let workload = workload(number);
    // The hash of a Deployment's pod template, which all its Pods share.
    let template = format!("7d9c{:05x}", number / PER_WORKLOAD);
    let spec = DataplaneSpec {
        mesh: "default".into(),
        name: format!("{workload}-{template}-{number:07}"),
        zone: "zone-1".into(),
        labels: strings([
            (WORKLOAD_LABEL, &workload),
            ("app", &workload),
            ("app.kubernetes.io/version", "1.24.3"),
            ("pod-template-hash", &template),
            ("team", "payments"),
        ]),
        address: format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255),
        inbounds: vec![InboundSpec {
            port: 8080,
            name: "http".into(),
            tags: strings([("kuma.io/service", &workload), ("kuma.io/protocol", "http")]),
        }],
        agent_version: "1.0.0".into(),
        ..DataplaneSpec::default()
    };
    Ok(Dataplane::parse(&spec, DataplaneLimits::default())?)
}

fn strings<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    entries.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}
