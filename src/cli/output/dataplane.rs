//! Dataplanes as table rows, and as Kuma's Dataplane resource with a status.

use std::{collections::BTreeMap, time::SystemTime};

use serde::Serialize;

use super::{age::age, print::Printable};
use crate::proto::{DataplaneOverview, HealthReport, HealthState, Inbound, InboundHealth};

impl Printable for DataplaneOverview {
    const PLURAL: &'static str = "dataplanes";
    const HEADER: &'static [&'static str] = &[
        "NAMESPACE",
        "NAME",
        "MESH",
        "WORKLOAD",
        "CONNECTED",
        "HEALTHY",
        "INBOUNDS",
        "LAST-CHANGE",
        "ADDRESS",
        "ZONE",
        "VERSION",
        "SESSION",
        "SPIFFE-ID",
    ];
    const NARROW: usize = 8;

    fn row(&self, now: SystemTime) -> Vec<String> {
        let dataplane = self.dataplane.clone().unwrap_or_default();
        let is_ready = |inbound: &&Inbound| state(self, inbound.port) == HealthState::Ready;
        let ready = dataplane.inbounds.iter().filter(is_ready).count();
        vec![
            dataplane.namespace,
            dataplane.name,
            dataplane.mesh,
            self.workload.as_ref().map(|workload| workload.name.clone()).unwrap_or_default(),
            self.connected.to_string(),
            self.healthy.to_string(),
            format!("{ready}/{}", dataplane.inbounds.len()),
            age(self.last_transition_time.as_ref(), now),
            dataplane.address,
            dataplane.zone,
            self.agent_version.clone(),
            self.session_id.clone(),
            self.spiffe_id.clone(),
        ]
    }

    fn resource(&self) -> impl Serialize {
        DataplaneResource::new(self)
    }
}

/// State of a port in the last report of the open session.
fn state(overview: &DataplaneOverview, port: u32) -> HealthState {
    let inbounds = overview.health.iter().flat_map(|health| &health.inbounds);
    inbounds
        .into_iter()
        .find(|inbound| inbound.port == port)
        .map_or(HealthState::Unspecified, InboundHealth::state)
}

fn word(state: HealthState) -> &'static str {
    match state {
        HealthState::Ready => "Ready",
        HealthState::NotReady => "NotReady",
        HealthState::Unspecified => "Unknown",
    }
}

/// The resource in the format of Kuma's Universal mode.
#[derive(Debug, Serialize)]
struct DataplaneResource<'a> {
    r#type: &'static str,
    mesh: &'a str,
    namespace: &'a str,
    name: &'a str,
    labels: &'a BTreeMap<String, String>,
    networking: Networking<'a>,
    status: Status<'a>,
}

#[derive(Debug, Serialize)]
struct Networking<'a> {
    address: &'a str,
    inbound: Vec<InboundResource<'a>>,
}

#[derive(Debug, Serialize)]
struct InboundResource<'a> {
    port: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    tags: &'a BTreeMap<String, String>,
    state: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    connected: bool,
    healthy: bool,
    /// State of the proxy itself.
    proxy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    zone: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    agent_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    session_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty", rename = "spiffeID")]
    spiffe_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    identity_problem: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_transition_time: Option<String>,
}

impl<'a> DataplaneResource<'a> {
    /// The resource of a dataplane; none if the response has no dataplane.
    fn new(overview: &'a DataplaneOverview) -> Option<Self> {
        let dataplane = overview.dataplane.as_ref()?;
        let inbound = dataplane.inbounds.iter().map(|inbound| InboundResource {
            port: inbound.port,
            name: &inbound.name,
            tags: &inbound.tags,
            state: word(state(overview, inbound.port)),
        });
        let proxy = overview.health.as_ref().map_or(HealthState::Unspecified, HealthReport::proxy);
        Some(Self {
            r#type: "Dataplane",
            mesh: &dataplane.mesh,
            namespace: &dataplane.namespace,
            name: &dataplane.name,
            labels: &dataplane.labels,
            networking: Networking { address: &dataplane.address, inbound: inbound.collect() },
            status: Status {
                connected: overview.connected,
                healthy: overview.healthy,
                proxy: word(proxy),
                workload: overview.workload.as_ref().map(|workload| workload.name.as_str()),
                zone: &dataplane.zone,
                agent_version: &overview.agent_version,
                session_id: &overview.session_id,
                spiffe_id: &overview.spiffe_id,
                identity_problem: &overview.identity_problem,
                last_transition_time: overview.last_transition_time.as_ref().map(ToString::to_string),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{
        output::{Format, document::document},
        tests::samples,
    };

    #[test]
    fn a_row_counts_the_inbounds_that_are_ready() {
        let row = samples::dataplane("web-1").row(samples::now());
        assert_eq!(row.len(), DataplaneOverview::HEADER.len());
        assert_eq!(row[..8], ["default", "web-1", "default", "web", "true", "true", "1/2", "5m"]);
    }

    #[test]
    fn the_resource_has_kumas_format() {
        let text = document(Format::Yaml, &samples::dataplane("web-1").resource());
        assert_eq!(
            text,
            "\
type: Dataplane
mesh: default
namespace: default
name: web-1
labels:
  kuma.io/workload: web
networking:
  address: \"10.0.0.1\"
  inbound:
  - port: 80
    name: http
    tags:
      kuma.io/protocol: http
    state: Ready
  - port: 81
    tags: {}
    state: Unknown
status:
  connected: true
  healthy: true
  proxy: Ready
  workload: web
  agentVersion: \"1.0.0\"
  sessionId: s1
  lastTransitionTime: \"2033-05-18T03:28:20Z\"
"
        );
    }
}
