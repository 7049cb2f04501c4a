//! Conversion of dataplanes and hellos.

use std::{ops::RangeInclusive, time::Duration};

use super::{duration_within, label_map};
use crate::{
    model::{Attempt, Dataplane, DataplaneLimits, DataplaneSpec, Environment, InboundSpec, Invalid},
    proto,
};

/// Returns the attempt that a hello belongs to.
pub fn attempt(hello: &proto::Hello) -> Attempt {
    Attempt { instance: hello.instance, number: hello.attempt }
}

/// The heartbeat intervals that a client may choose. A shorter one costs more than it detects
/// sooner; a longer one detects a failure no sooner than the reports, which come every 30 s.
const HEARTBEAT_INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);

/// Returns the heartbeat interval of a hello; none if the client sends no heartbeats.
///
/// # Errors
///
/// If it is not between 1 s and 30 s.
pub fn heartbeat_interval(hello: &proto::Hello) -> Result<Option<Duration>, Invalid> {
    duration_within("hello.heartbeat_interval", hello.heartbeat_interval, &HEARTBEAT_INTERVALS)
}

/// Converts and validates the dataplane of a hello.
///
/// # Errors
///
/// If a field is missing or invalid; the error names it by its path, from `hello` on.
pub fn dataplane_from_hello(hello: proto::Hello, limits: DataplaneLimits) -> Result<Dataplane, Invalid> {
    let stated = hello.dataplane.ok_or_else(|| Invalid::new("hello.dataplane", "is required"))?;
    let environment = match proto::Environment::try_from(stated.environment) {
        Ok(proto::Environment::Unspecified) => Environment::of_labels(&stated.labels),
        Ok(proto::Environment::Universal) => Environment::Universal,
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

/// Converts a dataplane to the message that its hello contained.
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
