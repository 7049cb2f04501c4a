//! Conversion of health reports.

use std::collections::BTreeSet;

use crate::{
    model::{Dataplane, Health, HealthReport, HealthState, Invalid},
    proto,
};

/// Converts and validates a health report of a session. `previous` is the sequence number of the
/// session's last report, 0 before the first.
///
/// # Errors
///
/// If the sequence number does not increase, an inbound is unknown or repeated, or a state is
/// unknown.
pub fn report_from_proto(
    report: &proto::HealthReport,
    dataplane: &Dataplane,
    previous: u64,
) -> Result<HealthReport, Invalid> {
    if report.sequence <= previous {
        let problem =
            format!("{}: must be greater than {previous}, the last one of this stream", report.sequence);
        return Err(Invalid::new("health.sequence", problem));
    }
    let mut health = Health::of_proxy(state_from_proto("health.proxy", report.proxy)?);
    let mut seen = BTreeSet::new();
    for (at, inbound) in report.inbounds.iter().enumerate() {
        let field = |name: &str| format!("health.inbounds[{at}].{name}");
        let index = dataplane.inbound_index(inbound.port).ok_or_else(|| {
            let problem = format!("{}: the hello declared no inbound with this port", inbound.port);
            Invalid::new(field("port"), problem)
        })?;
        if !seen.insert(index) {
            let problem = format!("{}: stated twice in one report", inbound.port);
            return Err(Invalid::new(field("port"), problem));
        }
        health.set_inbound(index, state_from_proto(&field("state"), inbound.state)?);
    }
    Ok(HealthReport { sequence: report.sequence, health })
}

/// Converts a health report to its message; inbounds of unknown health are left out.
pub fn report_to_proto(report: HealthReport, dataplane: &Dataplane) -> proto::HealthReport {
    let inbounds = dataplane.inbounds.iter().enumerate().filter_map(|(index, inbound)| {
        let state = report.health.inbound(index);
        let stated = proto::InboundHealth { port: inbound.port.into(), state: state_to_proto(state).into() };
        (state != HealthState::Unknown).then_some(stated)
    });
    proto::HealthReport {
        sequence: report.sequence,
        proxy: state_to_proto(report.health.proxy).into(),
        inbounds: inbounds.collect(),
    }
}

fn state_from_proto(field: &str, state: i32) -> Result<HealthState, Invalid> {
    match proto::HealthState::try_from(state) {
        Ok(proto::HealthState::Unspecified) => Ok(HealthState::Unknown),
        Ok(proto::HealthState::Ready) => Ok(HealthState::Ready),
        Ok(proto::HealthState::NotReady) => Ok(HealthState::NotReady),
        Err(unknown) => {
            Err(Invalid::new(field, format!("{}: unknown value; use READY (1) or NOT_READY (2)", unknown.0)))
        }
    }
}

fn state_to_proto(state: HealthState) -> proto::HealthState {
    match state {
        HealthState::Unknown => proto::HealthState::Unspecified,
        HealthState::Ready => proto::HealthState::Ready,
        HealthState::NotReady => proto::HealthState::NotReady,
    }
}
