//! One inbound of a Dataplane document.

use std::{collections::BTreeMap, time::Duration};

use super::{document::address, keys};
use crate::{
    agent::{
        probe::{DEFAULT_INTERVAL, ProbeHandler, ProbeSpec},
        threshold::Thresholds,
    },
    convert::document::{YamlMap, parse_duration},
    model::{Invalid, Quoted},
};

/// Default probe timeout of Kuma's Health Discovery Service.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest interval and timeout: results of a slower probe would be stale.
const MAX_DURATION: Duration = Duration::from_hours(1);

/// Where the application behind an inbound listens, and how it is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// An IP address or a host name.
    pub host: String,
    /// Path of the key that states the host, or of the key to set if none does.
    pub host_key: String,
    /// 1 to 65535.
    pub port: u16,
    /// None without `serviceProbe`: the inbound has the state of the proxy.
    pub probe: Option<ProbeSpec>,
}

/// An inbound as the document states it.
#[derive(Debug)]
pub(super) struct Inbound {
    /// Path in the document.
    pub(super) path: String,
    pub(super) port: u16,
    pub(super) name: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) application: Application,
    /// Whether the document allows it to be ready.
    pub(super) may_be_ready: bool,
}

impl Inbound {
    pub(super) fn parse(
        inbound: &YamlMap<'_>,
        networking: &YamlMap<'_>,
        proxy_address: Option<&str>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Invalid> {
        if inbound.has("interface") {
            let old = keys::instead_of_interface(inbound.text("interface")?, true);
            return Err(Invalid::new(inbound.path("interface"), old));
        }
        inbound.warn_unknown(keys::INBOUND, warnings);
        let required = || Invalid::new(inbound.path("port"), "is required: a number between 1 and 65535");
        let port = inbound.port("port")?.ok_or_else(required)?;
        // Kuma sends the traffic to `serviceAddress`, else to the inbound's own address, else to
        // the proxy's.
        let service_address = address(inbound, "serviceAddress")?;
        let own_address = address(inbound, "address")?;
        let (host_key, host) = service_address
            .map(|host| (inbound.path("serviceAddress"), host))
            .or_else(|| own_address.map(|host| (inbound.path("address"), host)))
            .or_else(|| proxy_address.map(|host| (networking.path("address"), host)))
            .unwrap_or_else(|| (inbound.path("serviceAddress"), "127.0.0.1"));
        let mut application = Application {
            host: host.to_owned(),
            host_key,
            port: inbound.port("servicePort")?.unwrap_or(port),
            probe: None,
        };
        let probe = inbound.map("serviceProbe")?;
        application.probe = probe.map(|probe| service_probe(&probe, &application, warnings)).transpose()?;
        Ok(Self {
            path: inbound.path(""),
            port,
            name: inbound.text("name")?.unwrap_or_default().to_owned(),
            tags: inbound.texts("tags")?,
            may_be_ready: may_be_ready(inbound, application.probe.is_some(), warnings)?,
            application,
        })
    }
}

/// Kuma's rule: an inbound is ready if its state is Ready and its health, if stated, is ready.
/// `NotReady` on an inbound with a serviceProbe is the result of an earlier probe, which Kuma
/// replaces by that of the next one.
fn may_be_ready(inbound: &YamlMap<'_>, has_probe: bool, warnings: &mut Vec<String>) -> Result<bool, Invalid> {
    let ready = match inbound.map("health")? {
        None => true,
        Some(health) => {
            health.warn_unknown(keys::HEALTH, warnings);
            // protobuf's JSON leaves out a false value.
            health.flag("ready")?.unwrap_or(false)
        }
    };
    match inbound.text("state")?.unwrap_or("Ready") {
        "Ready" => Ok(ready),
        "NotReady" => Ok(has_probe),
        "Ignored" => Ok(false),
        other => {
            let problem = format!("{}: must be Ready, NotReady or Ignored", Quoted(other));
            Err(Invalid::new(inbound.path("state"), problem))
        }
    }
}

fn service_probe(
    probe: &YamlMap<'_>,
    application: &Application,
    warnings: &mut Vec<String>,
) -> Result<ProbeSpec, Invalid> {
    probe.warn_unknown(keys::SERVICE_PROBE, warnings);
    let handler = match (probe.has("tcp"), probe.map("http")?) {
        (true, Some(_)) => {
            return Err(Invalid::new(probe.path(""), "has both tcp and http: keep one"));
        }
        (false, Some(http)) => {
            http.warn_unknown(keys::HTTP, warnings);
            ProbeHandler::http(http.text("path")?.unwrap_or("/"))
                .map_err(|problem| Invalid::new(http.path("path"), problem))?
        }
        // TCP is Kuma's only check, so `tcp` may be omitted.
        (_, None) => ProbeHandler::Tcp,
    };
    Ok(ProbeSpec {
        host: application.host.clone(),
        port: application.port,
        handler,
        interval: duration_of(probe, "interval", DEFAULT_INTERVAL)?,
        timeout: duration_of(probe, "timeout", DEFAULT_TIMEOUT)?,
        thresholds: Thresholds {
            healthy: threshold(probe, ["healthyThreshold", "healthy_threshold"])?,
            unhealthy: threshold(probe, ["unhealthyThreshold", "unhealthy_threshold"])?,
        },
    })
}

fn duration_of(probe: &YamlMap<'_>, key: &str, default: Duration) -> Result<Duration, Invalid> {
    let Some(text) = probe.text(key)? else { return Ok(default) };
    let duration = parse_duration(text).map_err(|problem| Invalid::new(probe.path(key), problem))?;
    if duration.is_zero() || duration > MAX_DURATION {
        return Err(Invalid::new(probe.path(key), format!("{text}: must be more than 0 and at most 1h")));
    }
    Ok(duration)
}

/// A threshold, by its name in JSON or in protobuf; 1 by default.
fn threshold(probe: &YamlMap<'_>, [json, proto]: [&str; 2]) -> Result<u32, Invalid> {
    Ok(probe.count(json)?.or(probe.count(proto)?).unwrap_or(1))
}
