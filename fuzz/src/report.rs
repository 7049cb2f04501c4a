//! A report is taken if and only if it is lawful after those before it; what
//! was taken says what was said, and counts as healthy by a naive reading.

use headcount::{
    convert,
    model::{Dataplane, DataplaneLimits, DataplaneSpec, HealthReport, HealthState, InboundSpec},
    proto::{self, HealthState as Said},
};
use prost::Message as _;

use super::rules;

const FIRST_PORT: u32 = 8_000;

/// Takes a byte that says how many inbounds the dataplane has, then reports as
/// they are on the wire, each with its length before it.
pub fn check(input: &[u8]) {
    let Some((inbounds, mut reports)) = input.split_first() else { return };
    let dataplane = dataplane(u32::from(*inbounds) % 65);
    let mut previous = 0;
    while !reports.is_empty() {
        let Ok(report) = proto::HealthReport::decode_length_delimited(&mut reports) else { return };
        let taken = convert::report_from_proto(&report, &dataplane, previous);
        let lawful = is_lawful(&report, &dataplane, previous);
        assert_eq!(taken.is_ok(), lawful, "{taken:?} after {previous}, of {report:?}");
        match taken {
            Ok(taken) => {
                assert_says(taken, &report, &dataplane);
                let written = convert::report_to_proto(taken, &dataplane);
                assert_eq!(convert::report_from_proto(&written, &dataplane, previous), Ok(taken));
                previous = taken.sequence;
            }
            Err(invalid) => {
                rules::assert_fit(&invalid);
                assert!(fields(&report).contains(&invalid.field), "{invalid}, of {report:?}");
            }
        }
    }
}

/// One with so many inbounds, at neighbouring ports.
fn dataplane(inbounds: u32) -> Dataplane {
    let inbounds = (0..inbounds).map(|n| InboundSpec { port: FIRST_PORT + n, ..InboundSpec::default() });
    let spec = DataplaneSpec {
        mesh: "default".into(),
        name: "web-1".into(),
        inbounds: inbounds.collect(),
        ..DataplaneSpec::default()
    };
    Dataplane::parse(&spec, DataplaneLimits::default()).expect("it is lawful")
}

fn is_lawful(report: &proto::HealthReport, dataplane: &Dataplane, previous: u64) -> bool {
    let last_port = FIRST_PORT + u32::try_from(dataplane.inbounds.len()).expect("it is at most 64");
    let mut ports: Vec<_> = report.inbounds.iter().map(|inbound| inbound.port).collect();
    ports.sort_unstable();
    ports.dedup();
    report.sequence > previous
        && (0..=2).contains(&report.proxy)
        && ports.len() == report.inbounds.len()
        && ports.iter().all(|port| (FIRST_PORT..last_port).contains(port))
        && report.inbounds.iter().all(|inbound| (0..=2).contains(&inbound.state))
}

fn assert_says(taken: HealthReport, report: &proto::HealthReport, dataplane: &Dataplane) {
    let said = |port: u32| {
        let inbound = report.inbounds.iter().find(|inbound| inbound.port == port);
        inbound.map_or(Said::Unspecified, proto::InboundHealth::state)
    };
    assert_eq!(taken.sequence, report.sequence);
    assert_eq!(taken.health.proxy, state(report.proxy()));
    for (index, inbound) in dataplane.inbounds.iter().enumerate() {
        assert_eq!(taken.health.inbound(index), state(said(inbound.port.into())), "port {}", inbound.port);
    }
    let serves = dataplane.inbounds.iter().any(|inbound| said(inbound.port.into()) == Said::Ready);
    let healthy = report.proxy() == Said::Ready && (dataplane.inbounds.is_empty() || serves);
    assert_eq!(taken.health.is_healthy(dataplane.inbounds.is_empty()), healthy, "{report:?}");
}

fn state(said: Said) -> HealthState {
    match said {
        Said::Unspecified => HealthState::Unknown,
        Said::Ready => HealthState::Ready,
        Said::NotReady => HealthState::NotReady,
    }
}

/// The paths of all fields that a refusal may name.
fn fields(report: &proto::HealthReport) -> Vec<String> {
    let mut fields = vec!["health.sequence".to_owned(), "health.proxy".to_owned()];
    for index in 0..report.inbounds.len() {
        fields.extend(["port", "state"].map(|name| format!("health.inbounds[{index}].{name}")));
    }
    fields
}
