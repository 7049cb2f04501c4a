//! The cost of an Envoy's messages: headcount's reader, which skips what it does not need, against a full
//! decoding with envoy-types. Both use prost, and the messages are those of a real Envoy 1.40.
//!
//! | row | measured |
//! | --- | --- |
//! | `first` | decoding the first message; for headcount also everything up to the response |
//! | `unchanged` | a report that equals the last one |
//! | `changed` | a report with another health than the last one |

mod messages;
#[path = "../support/mod.rs"]
mod support;

use std::{fmt, hint::black_box, time};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser as _;
use envoy_types::pb::envoy::{
    config::core::v3::HealthStatus,
    service::health::v3::{
        HealthCheckRequestOrEndpointHealthResponse as Message,
        health_check_request_or_endpoint_health_response::RequestType,
    },
};
use headcount::{
    envoy::{
        checks::CheckSettings,
        node::{self, Proxy},
        stream_health::StreamHealth,
    },
    model::DataplaneLimits,
};
use prost::Message as _;
use tokio::time::Instant;

use self::support::{
    args::Args,
    report::Report,
    rounds::{Figure, Measure, compare, measure_alone},
    target::Target,
};

struct Scale {
    rounds: usize,
    first_messages: u32,
    reports: u32,
}

const FULL: Scale = Scale { rounds: 15, first_messages: 2_000, reports: 200_000 };

const QUICK: Scale = Scale { rounds: 3, first_messages: 20, reports: 2_000 };

#[derive(Debug, Clone, Copy)]
enum Side {
    Headcount,
    EnvoyTypes,
}

const SIDES: [Side; 2] = [Side::Headcount, Side::EnvoyTypes];

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Headcount => "headcount",
            Self::EnvoyTypes => "envoy-types",
        })
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let scale = if args.quick { QUICK } else { FULL };
    let mut report = Report::new("envoy", &["first", "unchanged", "changed"], &args)?;
    if args.wants("first") {
        report.add(SIDES, first(&scale)?);
        report.add(SIDES, first_to_response(&scale)?);
    }
    if args.wants("unchanged") {
        report.add(SIDES, unchanged(&scale)?);
    }
    if args.wants("changed") {
        report.add(SIDES, changed(&scale)?);
    }
    report.publish(&args, &[])
}

/// Decodes the first message.
fn first(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    compare("first", scale.rounds, SIDES, |side| {
        let nanos = match side {
            Side::Headcount => nanos(scale.first_messages, || {
                black_box(node::read(black_box(messages::FIRST))?);
                Ok(())
            })?,
            Side::EnvoyTypes => nanos(scale.first_messages, || decode(messages::FIRST))?,
        };
        Ok(vec![
            Measure::new("the first message of an Envoy, decoded", "µs", nanos / 1_000.0)
                .target(Target::RatioAtMost(0.1)),
        ])
    })
}

/// Everything between the first message and the encoded response, except the registry.
fn first_to_response(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    measure_alone("first", scale.rounds, || {
        let nanos = nanos(scale.first_messages, || {
            let node = node::read(black_box(messages::FIRST))?;
            let proxy = Proxy::parse(&node, DataplaneLimits::default())?;
            let specifier = proxy.checks.specifier(&CheckSettings::default());
            black_box(specifier.encode_to_vec());
            Ok(())
        })?;
        Ok(vec![Measure::new("checked and answered with a specifier", "µs", nanos / 1_000.0)])
    })
}

/// The report that an Envoy sends four times a second.
fn unchanged(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    compare("unchanged", scale.rounds, SIDES, |side| {
        let nanos = process(scale, side, [messages::REPORT, messages::REPORT])?;
        Ok(vec![Measure::new("an identical report", "ns", nanos).target(Target::RatioAtMost(0.1))])
    })
}

/// The report that an Envoy sends when a check's result has changed.
fn changed(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let other = with_an_unhealthy_inbound()?;
    compare("changed", scale.rounds, SIDES, |side| {
        let nanos = process(scale, side, [messages::REPORT, &other])?;
        Ok(vec![Measure::new("a report with a change", "ns", nanos).target(Target::RatioAtMost(0.5))])
    })
}

/// Processes two reports alternately; returns the nanoseconds per report.
fn process(scale: &Scale, side: Side, reports: [&[u8]; 2]) -> anyhow::Result<f64> {
    let reports = reports.map(Bytes::copy_from_slice);
    let mut indexes = (0..2).cycle();
    let mut next = move || reports[indexes.next().unwrap_or_default()].clone();
    match side {
        Side::Headcount => {
            let proxy = Proxy::parse(&node::read(messages::FIRST)?, DataplaneLimits::default())?;
            let mut health = StreamHealth::new(&proxy.checks, &CheckSettings::default(), Instant::now());
            nanos(scale.reports, || {
                black_box(health.report(next(), Instant::now())?);
                Ok(())
            })
        }
        Side::EnvoyTypes => nanos(scale.reports, || decode(&next())),
    }
}

fn decode(message: &[u8]) -> anyhow::Result<()> {
    black_box(Message::decode(black_box(message))?);
    Ok(())
}

/// The report with the first inbound unhealthy.
fn with_an_unhealthy_inbound() -> anyhow::Result<Vec<u8>> {
    let mut message = Message::decode(messages::REPORT)?;
    let Some(RequestType::EndpointHealthResponse(report)) = &mut message.request_type else {
        anyhow::bail!("not a report")
    };
    let cluster = report.cluster_endpoints_health.first_mut().context("no clusters")?;
    for endpoint in
        cluster.locality_endpoints_health.iter_mut().flat_map(|locality| &mut locality.endpoints_health)
    {
        endpoint.set_health_status(HealthStatus::Unhealthy);
    }
    Ok(message.encode_to_vec())
}

/// Calls the function this many times; returns the nanoseconds per call.
fn nanos(times: u32, mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let start = time::Instant::now();
    for _ in 0..times {
        once()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(times))
}
