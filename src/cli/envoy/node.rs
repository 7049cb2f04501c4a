//! Converts a Dataplane file to the `node` of a bootstrap.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::Serialize;

use super::admin::AdminAddress;
use crate::{
    agent::{Application, DataplaneFile, FileInbound, ProbeHandler, ProbeSpec},
    envoy::checks::HttpPath,
    model::{Dataplane, ENVIRONMENT_LABEL, Invalid, MESH_LABEL, Quoted},
};

/// A Dataplane file, valid by the rules of the server and of Envoy.
#[derive(Debug)]
pub(super) struct ValidatedFile {
    dataplane: Dataplane,
    labels: BTreeMap<String, String>,
    inbounds: Vec<Inbound>,
    /// How the bootstrap differs from the file, and which keys are not used.
    remarks: Vec<String>,
    admin_port: Option<u16>,
}

#[derive(Debug, Serialize)]
pub(super) struct Node {
    id: String,
    cluster: String,
    metadata: Metadata,
}

#[derive(Debug, Serialize)]
struct Metadata {
    /// Labels whose key has a prefix.
    #[serde(flatten)]
    prefixed: BTreeMap<String, String>,
    /// All other labels. At the top level their keys could collide with those of other consumers.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Admin {
    address: IpAddr,
    port: u16,
}

impl ValidatedFile {
    /// Validates a file. An error names the key as the file writes it.
    pub(super) fn new(mut file: DataplaneFile) -> Result<Self, Invalid> {
        let dataplane = file.dataplane()?;
        // Without the label of the environment, the server would assume Kubernetes for a dataplane that
        // has a namespace label.
        for (label, value) in
            [(MESH_LABEL, dataplane.key.mesh.as_str()), (ENVIRONMENT_LABEL, dataplane.environment.as_str())]
        {
            file.spec.labels.insert(label.to_owned(), value.to_owned());
        }
        let mut remarks = std::mem::take(&mut file.warnings);
        remarks.extend(dataplane.warnings());
        if !file.proxy_may_be_ready {
            remarks.push("networking.listeners: all are NotReady, but Envoy's readiness decides".to_owned());
        }
        let mut inbounds = Vec::new();
        for (FileInbound { path, applications, may_be_ready }, spec) in
            file.inbounds.iter().zip(file.spec.inbounds)
        {
            let application = &applications[0];
            let address = address(application)?;
            let at = SocketAddr::new(address, application.port);
            if application.probe.is_none() && *may_be_ready {
                remarks.push(format!("{path} has no serviceProbe: Envoy checks it by TCP, at {at}"));
            }
            if applications.len() > 1 {
                let port = spec.port;
                remarks.push(format!("{path}: port {port} has several applications: Envoy checks only {at}"));
            }
            let http = http_path(path, application.probe.as_ref())?;
            inbounds.push(Inbound {
                state: (!may_be_ready).then_some("NotReady"),
                port: spec.port,
                service_port: application.port,
                address,
                name: spec.name,
                protocol: if http.is_some() { "http" } else { "tcp" },
                path: http.map(|path| path.as_str().to_owned()),
                tags: spec.tags,
            });
        }
        let (labels, admin_port) = (file.spec.labels, file.admin_port);
        Ok(Self { dataplane, labels, inbounds, remarks, admin_port })
    }

    /// The port of Envoy's admin interface, if the file states one.
    pub(super) fn admin_port(&self) -> Option<u16> {
        self.admin_port
    }

    /// Remarks for the user on how the bootstrap differs from the file.
    pub(super) fn remarks(&self) -> impl Iterator<Item = &str> {
        self.remarks.iter().map(String::as_str)
    }

    /// Returns the node of an Envoy with the given admin interface.
    pub(super) fn into_node(self, admin: AdminAddress) -> Node {
        let key = &self.dataplane.key;
        let (prefixed, labels) = self.labels.into_iter().partition(|(label, _)| label.contains('/'));
        let workload = self.dataplane.workload.as_ref().map(ToString::to_string);
        let admin = admin.check_address();
        Node {
            id: format!("{}.{}", key.name, key.namespace),
            // Envoy requires a cluster name in a node that it sends.
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

/// Parses the address of the application. Envoy crashes if it is asked to check a host name.
fn address(application: &Application) -> Result<IpAddr, Invalid> {
    let Application { host, host_key, .. } = application;
    host.parse().map_err(|_| {
        let problem = format!(
            "{}: must be an IP address, because Envoy resolves no names for its health checks; \
             set serviceAddress to the address of the application, such as 127.0.0.1",
            Quoted(host)
        );
        Invalid::new(host_key, problem)
    })
}

/// Returns the path of an HTTP check. The server's rule for it is stricter than the agent's.
fn http_path(inbound: &str, probe: Option<&ProbeSpec>) -> Result<Option<HttpPath>, Invalid> {
    let Some(ProbeHandler::Http(path)) = probe.map(|probe| &probe.handler) else {
        return Ok(None);
    };
    HttpPath::parse(&format!("{inbound}.serviceProbe.http.path"), path.as_str()).map(Some)
}
