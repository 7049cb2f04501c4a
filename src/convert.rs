//! The door between wire and domain. What comes in is parsed here, once;
//! nothing behind this door checks it again.

pub mod resource;

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use crate::{
    model::{
        Attempt, Dataplane, DataplaneLimits, DataplaneSpec, Environment, FieldSelector, Filter, Health,
        HealthReport, HealthState, InboundSpec, Invalid, LabelSelector, Labels, MeshName, Namespace,
        Workload, WorkloadIdentity, WorkloadKey, WorkloadName,
    },
    proto,
};

/// Which attempt of which agent a hello is.
pub fn attempt(hello: &proto::Hello) -> Attempt {
    Attempt { instance: hello.instance, number: hello.attempt }
}

/// Reads a hello.
pub fn dataplane_from_hello(hello: proto::Hello, limits: DataplaneLimits) -> Result<Dataplane, Invalid> {
    let stated = hello.dataplane.ok_or_else(|| Invalid::new("hello.dataplane", "is required"))?;
    let environment = match proto::Environment::try_from(stated.environment) {
        Ok(proto::Environment::Unspecified | proto::Environment::Universal) => Environment::Universal,
        Ok(proto::Environment::Kubernetes) => Environment::Kubernetes,
        Err(unknown) => {
            let problem = format!("{}: unknown value; use UNIVERSAL (1) or KUBERNETES (2)", unknown.0);
            return Err(Invalid::new("hello.dataplane.environment", problem));
        }
    };
    let spec = DataplaneSpec {
        mesh: stated.mesh,
        namespace: stated.namespace,
        name: stated.name,
        zone: stated.zone,
        environment,
        labels: stated.labels,
        address: stated.address,
        inbounds: stated
            .inbounds
            .into_iter()
            .map(|inbound| InboundSpec { port: inbound.port, name: inbound.name, tags: inbound.tags })
            .collect(),
        agent_version: hello.agent_version,
    };
    Dataplane::parse(&spec, limits).map_err(|invalid| match invalid.field.as_str() {
        "agent_version" => invalid.within("hello"),
        _ => invalid.within("hello.dataplane"),
    })
}

/// Writes a dataplane as its hello stated it.
pub fn dataplane_to_proto(dataplane: &Dataplane) -> proto::Dataplane {
    let environment = match dataplane.environment {
        Environment::Universal => proto::Environment::Universal,
        Environment::Kubernetes => proto::Environment::Kubernetes,
    };
    proto::Dataplane {
        mesh: dataplane.key.mesh.to_string(),
        namespace: dataplane.key.namespace.to_string(),
        name: dataplane.key.name.to_string(),
        zone: dataplane.zone.as_ref().map(ToString::to_string).unwrap_or_default(),
        environment: environment.into(),
        labels: label_map(&dataplane.labels),
        address: dataplane.address.to_string(),
        inbounds: dataplane
            .inbounds
            .iter()
            .map(|inbound| proto::Inbound {
                port: inbound.port.into(),
                name: inbound.name.to_string(),
                tags: label_map(&inbound.tags),
            })
            .collect(),
    }
}

fn label_map(labels: &Labels) -> std::collections::BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Reads a report of a dataplane's session whose last report had the number
/// `previous` (0 before the first).
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

/// Writes a report; inbounds of unknown health are left out.
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

/// Reads a filter; fields are named as within `filter`.
pub fn filter_from_proto(filter: &proto::WorkloadFilter) -> Result<Filter, Invalid> {
    Ok(Filter {
        mesh: optional(&filter.mesh, |text| MeshName::parse("filter.mesh", text))?,
        namespace: optional(&filter.namespace, |text| Namespace::parse("filter.namespace", text))?,
        name: optional(&filter.name, |text| WorkloadName::parse_kubernetes("filter.name", text))?,
        selector: selector_from_proto("filter.label_selector", &filter.label_selector)?,
        fields: FieldSelector::default(),
    })
}

/// Reads a label selector. What is wrong with it is said in bounded words: they
/// quote its text, travel in a header, and clients take 16 KiB of headers.
pub fn selector_from_proto(field: &str, selector: &str) -> Result<LabelSelector, Invalid> {
    selector.parse().map_err(|problem: String| Invalid::new(field, abridged(problem)))
}

/// A long text without its middle: what is wrong stands before the quoted text
/// or behind it.
pub(crate) fn abridged(text: String) -> String {
    /// Of each end.
    const KEPT: usize = 512;
    if text.len() <= 2 * KEPT {
        return text;
    }
    let (start, end) = (text.floor_char_boundary(KEPT), text.ceil_char_boundary(text.len() - KEPT));
    format!("{} ... {}", &text[..start], &text[end..])
}

/// Parses a name unless it is empty, which means "any".
pub fn optional<T>(text: &str, parse: impl Fn(&str) -> Result<T, Invalid>) -> Result<Option<T>, Invalid> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// The shared encoding of a Workload. What stays the same through its life is
/// encoded once, and what changes is put behind it: protobuf reads both as one
/// message.
pub fn encoded(workload: &Workload) -> Bytes {
    workload.encoded(|workload| {
        let identity =
            workload.identity.encoded(|identity| identity_to_proto(identity).encode_to_vec().into());
        let state = state_of_workload(workload);
        let mut bytes = BytesMut::with_capacity(identity.len() + state.encoded_len());
        bytes.extend_from_slice(identity);
        state.encode_raw(&mut bytes);
        bytes.freeze()
    })
}

fn identity_to_proto(identity: &WorkloadIdentity) -> proto::Workload {
    proto::Workload {
        name: identity.key.name.to_string(),
        namespace: identity.key.namespace.to_string(),
        mesh: identity.mesh.to_string(),
        uid: identity.uid.to_string(),
        labels: label_map(&identity.labels),
        creation_time: Some(timestamp(identity.creation_time)),
        ..proto::Workload::default()
    }
}

fn state_of_workload(workload: &Workload) -> proto::Workload {
    let counts = workload.counts;
    proto::Workload {
        revision: workload.revision,
        status: Some(proto::WorkloadStatus {
            dataplane_proxies: Some(proto::DataplaneProxies {
                connected: counts.connected,
                healthy: counts.healthy,
                total: counts.total,
            }),
            last_transition_time: Some(timestamp(workload.last_transition_time)),
        }),
        ..proto::Workload::default()
    }
}

/// Names a Workload.
pub fn workload_ref(key: &WorkloadKey, mesh: &MeshName) -> proto::WorkloadRef {
    proto::WorkloadRef {
        name: key.name.to_string(),
        namespace: key.namespace.to_string(),
        mesh: mesh.to_string(),
    }
}

/// A point in time.
pub fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    time.into()
}

/// A length of time; longer than the wire can say becomes its longest.
pub fn duration(duration: Duration) -> prost_types::Duration {
    const LONGEST: prost_types::Duration = prost_types::Duration { seconds: 315_576_000_000, nanos: 0 };
    duration.try_into().unwrap_or(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_refused_in_bounded_words() {
        for (selector, reason) in [
            (format!("a={}", "\u{7f}".repeat(4_000)), "may not contain '\\u{7f}'"),
            ("\u{1}".repeat(4_000), "at most 63 are allowed"),
            (format!("{} (b)", "é".repeat(2_000)), "expected `key in (a,b)`"),
        ] {
            let error = selector_from_proto("filter.label_selector", &selector).unwrap_err();
            assert!(error.problem.len() < 1_100 && error.problem.contains(" ... "), "{error}");
            assert!(error.problem.contains(reason), "{error}");
        }
        assert_eq!(abridged("short".into()), "short");
    }
}
