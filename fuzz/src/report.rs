//! A report is accepted if and only if it is valid after those before it; the accepted report has
//! every state of the message, and is healthy by a naive implementation of the rule.

use headcount::{
    convert,
    model::{Dataplane, DataplaneLimits, DataplaneSpec, HealthReport, HealthState, InboundSpec},
    proto::{self, HealthState as Reported},
};
use prost::Message as _;

use super::rules;

const FIRST_PORT: u32 = 8_000;

/// Input: a byte for the number of inbounds, then encoded reports, each with its length before it.
pub fn check(input: &[u8]) {
    let Some((inbounds, mut reports)) = input.split_first() else { return };
    let dataplane = dataplane(u32::from(*inbounds) % 65);
    let mut previous = 0;
    while !reports.is_empty() {
        let Ok(report) = proto::HealthReport::decode_length_delimited(&mut reports) else { return };
        let accepted = convert::report_from_proto(&report, &dataplane, previous);
        let valid = is_valid(&report, &dataplane, previous);
        assert_eq!(accepted.is_ok(), valid, "{accepted:?} after {previous}, of {report:?}");
        match accepted {
            Ok(accepted) => {
                assert_represents(accepted, &report, &dataplane);
                let written = convert::report_to_proto(accepted, &dataplane);
                assert_eq!(convert::report_from_proto(&written, &dataplane, previous), Ok(accepted));
                previous = accepted.sequence;
            }
            Err(invalid) => {
                rules::assert_printable(&invalid);
                assert!(fields(&report).contains(&invalid.field), "{invalid}, of {report:?}");
            }
        }
    }
}

/// A dataplane with this many inbounds, at consecutive ports.
fn dataplane(inbounds: u32) -> Dataplane {
    let inbounds = (0..inbounds).map(|n| InboundSpec { port: FIRST_PORT + n, ..InboundSpec::default() });
    let spec = DataplaneSpec {
        mesh: "default".into(),
        name: "web-1".into(),
        inbounds: inbounds.collect(),
        ..DataplaneSpec::default()
    };
    Dataplane::parse(&spec, DataplaneLimits::default()).expect("a valid dataplane")
}

fn is_valid(report: &proto::HealthReport, dataplane: &Dataplane, previous: u64) -> bool {
    let last_port = FIRST_PORT + u32::try_from(dataplane.inbounds.len()).expect("at most 64");
    let mut ports: Vec<_> = report.inbounds.iter().map(|inbound| inbound.port).collect();
    ports.sort_unstable();
    ports.dedup();
    report.sequence > previous
        && (0..=2).contains(&report.proxy)
        && ports.len() == report.inbounds.len()
        && ports.iter().all(|port| (FIRST_PORT..last_port).contains(port))
        && report.inbounds.iter().all(|inbound| (0..=2).contains(&inbound.state))
}

fn assert_represents(accepted: HealthReport, report: &proto::HealthReport, dataplane: &Dataplane) {
    let reported = |port: u32| {
        let inbound = report.inbounds.iter().find(|inbound| inbound.port == port);
        inbound.map_or(Reported::Unspecified, proto::InboundHealth::state)
    };
    assert_eq!(accepted.sequence, report.sequence);
    assert_eq!(accepted.health.proxy, state(report.proxy()));
    for (index, inbound) in dataplane.inbounds.iter().enumerate() {
        assert_eq!(
            accepted.health.inbound(index),
            state(reported(inbound.port.into())),
            "port {}",
            inbound.port
        );
    }
    let serves = dataplane.inbounds.iter().any(|inbound| reported(inbound.port.into()) == Reported::Ready);
    let healthy = report.proxy() == Reported::Ready && (dataplane.inbounds.is_empty() || serves);
    assert_eq!(accepted.health.is_healthy(dataplane.inbounds.is_empty()), healthy, "{report:?}");
}

fn state(reported: Reported) -> HealthState {
    match reported {
        Reported::Unspecified => HealthState::Unknown,
        Reported::Ready => HealthState::Ready,
        Reported::NotReady => HealthState::NotReady,
    }
}

/// The paths of all fields that a rejection may name.
fn fields(report: &proto::HealthReport) -> Vec<String> {
    let mut fields = vec!["health.sequence".to_owned(), "health.proxy".to_owned()];
    for index in 0..report.inbounds.len() {
        fields.extend(["port", "state"].map(|name| format!("health.inbounds[{index}].{name}")));
    }
    fields
}
