//! Who the Envoy is: a Dataplane file as `node.id` and `node.metadata`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::Serialize;

use super::admin::AdminAddress;
use crate::{
    agent::{Application, DataplaneFile, ProbeHandler, ProbeSpec},
    envoy::checks::HttpPath,
    model::{Dataplane, ENVIRONMENT_LABEL, Invalid, MESH_LABEL, Quoted, entry},
};

/// The form of the file. With a namespace among the labels the server would take
/// a dataplane that does not say it for one of Kubernetes.
const ENVIRONMENT: &str = "universal";

/// A Dataplane file that an Envoy can state.
#[derive(Debug)]
pub(super) struct Stated {
    dataplane: Dataplane,
    labels: BTreeMap<String, String>,
    inbounds: Vec<Inbound>,
    /// Inbounds that nobody asked to check.
    unprobed: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Node {
    id: String,
    cluster: String,
    metadata: Metadata,
}

#[derive(Debug, Serialize)]
struct Metadata {
    /// Those whose key has a prefix.
    #[serde(flatten)]
    prefixed: BTreeMap<String, String>,
    /// And the others, which could be anybody's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inbounds: Vec<Inbound>,
    admin: Admin,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Inbound {
    port: u32,
    service_port: u16,
    address: IpAddr,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Admin {
    address: IpAddr,
    port: u16,
}

impl Stated {
    /// Checks a file by the rules of the server and of Envoy. The error names
    /// the key as the file writes it.
    pub(super) fn new(mut file: DataplaneFile) -> Result<Self, Invalid> {
        let mesh = file.spec.mesh.clone();
        state(&mut file.spec.labels, MESH_LABEL, &mesh)?;
        state(&mut file.spec.labels, ENVIRONMENT_LABEL, ENVIRONMENT)?;
        let dataplane = file.dataplane()?;
        let (mut inbounds, mut unprobed) = (Vec::new(), Vec::new());
        let applications = file.applications.iter().zip(&file.probes).enumerate();
        for ((index, (application, probe)), spec) in applications.zip(file.spec.inbounds) {
            let path = format!("networking.inbound[{index}]");
            let address = address(application)?;
            if probe.is_none() {
                let at = SocketAddr::new(address, application.port);
                unprobed.push(format!("{path} has no serviceProbe: the Envoy checks it by TCP, at {at}"));
            }
            let http = http(&path, probe.as_ref())?;
            inbounds.push(Inbound {
                port: spec.port,
                service_port: application.port,
                address,
                name: spec.name,
                protocol: if http.is_some() { "http" } else { "tcp" },
                path: http.map(|path| path.as_str().to_owned()),
                tags: spec.tags,
            });
        }
        Ok(Self { dataplane, labels: file.spec.labels, inbounds, unprobed })
    }

    /// What is not as the file has it.
    pub(super) fn remarks(&self) -> impl Iterator<Item = &str> {
        self.unprobed.iter().map(String::as_str)
    }

    /// The node of an Envoy with this admin interface.
    pub(super) fn node(self, admin: AdminAddress) -> Node {
        let key = &self.dataplane.key;
        let (prefixed, labels) = self.labels.into_iter().partition(|(label, _)| label.contains('/'));
        let workload = self.dataplane.workload.as_ref().map(ToString::to_string);
        let admin = admin.reached();
        Node {
            id: format!("{}.{}", key.name, key.namespace),
            // Envoy requires one where its node is sent anywhere.
            cluster: workload.unwrap_or_else(|| key.name.to_string()),
            metadata: Metadata {
                prefixed,
                labels,
                inbounds: self.inbounds,
                admin: Admin { address: admin.ip(), port: admin.port() },
            },
        }
    }
}

/// Adds a label that says what the file says elsewhere.
fn state(labels: &mut BTreeMap<String, String>, key: &str, value: &str) -> Result<(), Invalid> {
    match labels.insert(key.to_owned(), value.to_owned()) {
        Some(other) if other != value => {
            let problem =
                format!("{}: must be {value:?}, as this dataplane is; or leave it out", Quoted(&other));
            Err(Invalid::new(entry("labels", key), problem))
        }
        _ => Ok(()),
    }
}

/// An Envoy ends at once when it is to check a name.
fn address(application: &Application) -> Result<IpAddr, Invalid> {
    let Application { host, host_key, .. } = application;
    host.parse().map_err(|_| {
        let problem = format!(
            "{}: must be an IP address, because an Envoy resolves no names for its checks; \
             say where the application is by serviceAddress, such as 127.0.0.1",
            Quoted(host)
        );
        Invalid::new(host_key, problem)
    })
}

/// The path of an HTTP check, by the server's rule for it: the agent's is wider.
fn http(inbound: &str, probe: Option<&ProbeSpec>) -> Result<Option<HttpPath>, Invalid> {
    let Some(ProbeHandler::Http(path)) = probe.map(|probe| &probe.handler) else {
        return Ok(None);
    };
    HttpPath::parse(&format!("{inbound}.serviceProbe.http.path"), path.as_str()).map(Some)
}
