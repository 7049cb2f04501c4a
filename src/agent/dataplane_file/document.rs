//! The keys of a Dataplane document that the agent uses, under Kuma's names. A key without a value
//! counts as absent, as in Kuma.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, de::IgnoredAny};

use super::{Application, duration};
use crate::{
    agent::{
        probe::{DEFAULT_INTERVAL, ProbeHandler, ProbeSpec},
        threshold::Thresholds,
    },
    model::{InboundSpec, Invalid, Quoted},
};

/// Default probe timeout of Kuma's Health Discovery Service.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest interval and timeout: results of a slower probe would be stale.
const MAX_DURATION: Duration = Duration::from_hours(1);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    r#type: Option<String>,
    /// Marks the Kubernetes format, which is rejected.
    kind: Option<IgnoredAny>,
    pub(super) mesh: Option<String>,
    pub(super) name: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) networking: Option<Networking>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Networking {
    pub(super) address: Option<String>,
    pub(super) advertised_address: Option<String>,
    pub(super) inbound: Option<Vec<Inbound>>,
    gateway: Option<IgnoredAny>,
    /// A zone proxy has these instead of inbounds.
    listeners: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Inbound {
    #[serde(default)]
    port: u32,
    name: Option<String>,
    address: Option<String>,
    service_port: Option<u32>,
    service_address: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    service_probe: Option<ServiceProbe>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceProbe {
    interval: Option<String>,
    timeout: Option<String>,
    unhealthy_threshold: Option<u32>,
    healthy_threshold: Option<u32>,
    tcp: Option<IgnoredAny>,
    http: Option<Http>,
}

#[derive(Debug, Deserialize)]
struct Http {
    path: Option<String>,
}

impl Document {
    /// Checks that the document is a Dataplane in the format of Universal, with inbounds or a gateway.
    pub(super) fn check_kind(&self) -> Result<(), Invalid> {
        if self.kind.is_some() {
            let problem = "this is a Kubernetes resource: write it in the format of Universal (type: Dataplane, with mesh, name and networking at the top level)";
            return Err(Invalid::new("kind", problem));
        }
        if let Some(other) = self.r#type.as_deref().filter(|kind| *kind != "Dataplane") {
            return Err(Invalid::new("type", format!("{}: must be Dataplane", Quoted(other))));
        }
        let Some(networking) = &self.networking else {
            return Err(Invalid::new(
                "networking",
                "is required: list the inbounds of the proxy in it, or mark the proxy as a gateway",
            ));
        };
        let inbounds = networking.inbound.as_ref().is_some_and(|inbounds| !inbounds.is_empty());
        // Without this check a misspelt key would make a dataplane that is always healthy.
        match (inbounds, networking.gateway.is_some()) {
            (true, true) => {
                Err(Invalid::new("networking.inbound", "a gateway has none: remove inbound, or gateway"))
            }
            (false, false) if networking.listeners.is_none() => {
                let problem = "is required: list the ports of the application, or set networking.gateway if the proxy is a gateway";
                Err(Invalid::new("networking.inbound", problem))
            }
            _ => Ok(()),
        }
    }
}

impl Inbound {
    pub(super) fn into_spec(self) -> InboundSpec {
        InboundSpec {
            port: self.port,
            name: self.name.unwrap_or_default(),
            tags: self.tags.unwrap_or_default(),
        }
    }

    /// Returns where Kuma sends the traffic of this inbound: to `serviceAddress`, else the inbound's own
    /// address, else the proxy's address, else loopback; and to `servicePort`, else the inbound's port.
    /// `path` is the path of the inbound in the document.
    pub(super) fn application(
        &self,
        path: &str,
        proxy_address: Option<&str>,
    ) -> Result<Application, Invalid> {
        let (key, host) = [
            (format!("{path}.serviceAddress"), self.service_address.as_deref()),
            (format!("{path}.address"), self.address.as_deref()),
            ("networking.address".to_owned(), proxy_address),
        ]
        .into_iter()
        .find_map(|(key, host)| Some((key, host.filter(|host| !host.is_empty())?)))
        .unwrap_or_else(|| (format!("{path}.serviceAddress"), "127.0.0.1"));
        let (port_key, port) = match self.service_port {
            None | Some(0) => ("port", self.port),
            Some(port) => ("servicePort", port),
        };
        let port = u16::try_from(port).ok().filter(|port| *port != 0).ok_or_else(|| {
            Invalid::new(format!("{path}.{port_key}"), format!("{port}: must be between 1 and 65535"))
        })?;
        Ok(Application { host: host.to_owned(), host_key: key, port })
    }

    /// Returns the probe of the application, or none without `serviceProbe`.
    pub(super) fn probe(&self, application: &Application) -> Result<Option<ProbeSpec>, Invalid> {
        let Some(probe) = &self.service_probe else {
            return Ok(None);
        };
        probe.spec(application).map(Some).map_err(|invalid| match invalid.field.as_str() {
            "" => Invalid { field: "serviceProbe".to_owned(), ..invalid },
            _ => invalid.within("serviceProbe"),
        })
    }
}

impl ServiceProbe {
    fn spec(&self, application: &Application) -> Result<ProbeSpec, Invalid> {
        let handler = match (&self.tcp, &self.http) {
            (Some(_), Some(_)) => return Err(Invalid::new("", "has both tcp and http: keep one")),
            (None, Some(http)) => ProbeHandler::http(http.path.as_deref().unwrap_or("/"))
                .map_err(|problem| Invalid::new("http.path", problem))?,
            // TCP is Kuma's only check, so `tcp` may be omitted.
            (_, None) => ProbeHandler::Tcp,
        };
        Ok(ProbeSpec {
            host: application.host.clone(),
            port: application.port,
            handler,
            interval: duration_value("interval", self.interval.as_deref(), DEFAULT_INTERVAL)?,
            timeout: duration_value("timeout", self.timeout.as_deref(), DEFAULT_TIMEOUT)?,
            thresholds: Thresholds {
                healthy: threshold("healthyThreshold", self.healthy_threshold)?,
                unhealthy: threshold("unhealthyThreshold", self.unhealthy_threshold)?,
            },
        })
    }
}

fn duration_value(key: &str, text: Option<&str>, default: Duration) -> Result<Duration, Invalid> {
    let Some(text) = text else { return Ok(default) };
    let duration = duration::parse(text).map_err(|problem| Invalid::new(key, problem))?;
    if duration.is_zero() || duration > MAX_DURATION {
        return Err(Invalid::new(key, format!("{text}: must be more than 0 and at most 1h")));
    }
    Ok(duration)
}

fn threshold(key: &str, stated: Option<u32>) -> Result<u32, Invalid> {
    match stated {
        Some(0) => Err(Invalid::new(key, "0: must be at least 1")),
        stated => Ok(stated.unwrap_or(1)),
    }
}
