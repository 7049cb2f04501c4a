//! Converts an Envoy's `Node`, as its bootstrap states it, to a dataplane and its health checks.
//!
//! ```yaml
//! node:
//!   id: web-1.shop                   # name.namespace, or Kuma's mesh.name
//!   metadata:
//!     kuma.io/mesh: default          # labels: all keys with a prefix,
//!     kuma.io/workload: web
//!     labels: {app: web}             # and all of this map
//!     inbounds:                      # each inbound is checked
//!       - {port: 8080, servicePort: 9080, protocol: http, path: /healthz}
//!     admin: {port: 9901}            # /ready is checked
//! ```

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::value::Kind;

use super::{
    checks::{Check, Checker, Checks, EndpointAddress, HttpPath, Target},
    metadata::MetadataStruct,
};
use crate::{
    model::{
        Dataplane, DataplaneLimits, DataplaneSpec, ENVIRONMENT_LABEL, Environment, InboundSpec, Invalid,
        MAX_AGENT_VERSION, MESH_LABEL, NAMESPACE_LABEL, Namespace, Quoted, WORKLOAD_LABEL, ZONE_LABEL,
        ZoneName, entry,
    },
    proto::envoy::{
        config::core::v3::Node,
        service::health::v3::{
            HealthCheckRequestOrEndpointHealthResponse,
            health_check_request_or_endpoint_health_response::RequestType,
        },
    },
    registry::events::UnknownProxy,
};

/// Path of the metadata in a bootstrap.
const METADATA: &str = "node.metadata";
/// Allowed keys of an inbound.
const INBOUND_KEYS: [&str; 8] =
    ["port", "servicePort", "address", "name", "protocol", "path", "state", "tags"];
/// Allowed keys of the admin interface.
const ADMIN_KEYS: [&str; 2] = ["address", "port"];

/// An Envoy, as its node describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The dataplane that the Envoy registers.
    pub dataplane: Dataplane,
    /// The health checks to request of the Envoy.
    pub checks: Checks,
}

/// Decodes the node from the first message of a stream, without validating it.
///
/// # Errors
///
/// If the message is not valid protobuf, or has no node.
pub fn read(first: &[u8]) -> Result<Node, Invalid> {
    let message = HealthCheckRequestOrEndpointHealthResponse::decode(first)
        .map_err(|error| Invalid::new("message", error.to_string()))?;
    let missing = "is required: the first message of a stream must have the node";
    match message.request_type {
        Some(RequestType::HealthCheckRequest(request)) => {
            request.node.ok_or_else(|| Invalid::new("health_check_request.node", missing))
        }
        Some(RequestType::EndpointHealthResponse(_)) | None => {
            Err(Invalid::new("health_check_request", missing))
        }
    }
}

/// Identifies a rejected Envoy in an event: its `node.id`, and the namespace of its metadata.
pub fn unknown_proxy(node: &Node) -> UnknownProxy {
    let metadata = node.metadata.as_ref().and_then(|metadata| metadata.fields.get(NAMESPACE_LABEL));
    let namespace = match metadata.and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(namespace)) => namespace,
        _ => "",
    };
    // An invalid namespace is replaced by the default one.
    let namespace = Namespace::parse("namespace", namespace).unwrap_or_default();
    UnknownProxy::new(namespace, &node.id)
}

impl Proxy {
    /// Validates a node and converts it.
    ///
    /// # Errors
    ///
    /// Names the first invalid field by its path in the bootstrap.
    pub fn parse(node: &Node, limits: DataplaneLimits) -> Result<Self, Invalid> {
        let empty = BTreeMap::new();
        let metadata = node.metadata.as_ref().map_or(&empty, |metadata| &metadata.fields);
        let metadata = MetadataStruct::new(METADATA, metadata);
        let labels = Labels::collect(&metadata)?;
        let id = NodeId::parse(&node.id, &labels)?;
        let inbounds = metadata.list("inbounds")?.iter().map(inbound).collect::<Result<Vec<_>, _>>()?;
        let (inbounds, checks): (Vec<_>, Vec<_>) = inbounds.into_iter().unzip();
        let spec = DataplaneSpec {
            mesh: id.mesh.to_owned(),
            namespace: id.namespace.to_owned(),
            name: id.name.to_owned(),
            zone: zone(node, &labels).to_owned(),
            environment: environment(&labels)?,
            labels: labels.to_map(),
            address: String::new(),
            inbounds,
            agent_version: agent_version(node),
        };
        Ok(Self {
            dataplane: Dataplane::parse(&spec, limits).map_err(|invalid| labels.locate(invalid))?,
            checks: Checks::new(checks, admin(&metadata)?),
        })
    }
}

/// Labels of the dataplane, from both places of the metadata that may have them.
struct Labels<'a>(BTreeMap<&'a str, Label<'a>>);

struct Label<'a> {
    value: &'a str,
    /// Path of the label in the bootstrap.
    path: String,
}

impl<'a> Labels<'a> {
    /// Collects the entries of the metadata whose key has a prefix, and all entries of its `labels`. Other
    /// metadata is ignored: it is for other consumers, such as an xDS server.
    fn collect(metadata: &MetadataStruct<'a>) -> Result<Self, Invalid> {
        let mut collected = BTreeMap::new();
        for label in metadata.strings(|key| key.contains('/')) {
            let (key, value) = label?;
            collected.insert(key, Label { value, path: metadata.path(key) });
        }
        let Some(labels) = metadata.nested("labels")? else {
            return Ok(Self(collected));
        };
        for label in labels.strings(|_| true) {
            let (key, value) = label?;
            let label = Label { value, path: labels.path(key) };
            if collected.insert(key, label).is_some_and(|other| other.value != value) {
                let problem =
                    "disagrees with the entry of this name in node.metadata: give both the same value";
                return Err(Invalid::new(labels.path(key), problem));
            }
        }
        Ok(Self(collected))
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).map(|label| label.value)
    }

    /// Returns a value; none if it is absent or empty.
    fn get_non_empty(&self, key: &str) -> Option<&'a str> {
        self.get(key).filter(|value| !value.is_empty())
    }

    /// Path of a label in the bootstrap; if it is absent, the path to set.
    fn path(&self, key: &str) -> String {
        self.0.get(key).map_or_else(|| format!("{METADATA}.{key}"), |label| label.path.clone())
    }

    fn to_map(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(key, label)| ((*key).to_owned(), label.value.to_owned())).collect()
    }

    /// Replaces the field of an error by its path in the bootstrap.
    fn locate(&self, Invalid { field, problem }: Invalid) -> Invalid {
        let path_or_id = |is_label, key| if is_label { self.path(key) } else { "node.id".to_owned() };
        let field = match field.as_str() {
            "name" => "node.id".to_owned(),
            "mesh" => path_or_id(self.get(MESH_LABEL).is_some(), MESH_LABEL),
            "namespace" => path_or_id(self.get_non_empty(NAMESPACE_LABEL).is_some(), NAMESPACE_LABEL),
            "zone" => self.path(ZONE_LABEL),
            _ => match self.0.iter().find(|(key, _)| entry("labels", key) == field) {
                Some((_, label)) => label.path.clone(),
                None => format!("{METADATA}.{field}"),
            },
        };
        // This problem names a second field.
        let problem = problem.replace(&entry("labels", WORKLOAD_LABEL), &self.path(WORKLOAD_LABEL));
        Invalid { field, problem }
    }
}

/// The dataplane's mesh, namespace and name, from `node.id` and the labels.
struct NodeId<'a> {
    mesh: &'a str,
    /// Empty if it is not given.
    namespace: &'a str,
    name: &'a str,
}

impl<'a> NodeId<'a> {
    fn parse(id: &'a str, labels: &Labels<'a>) -> Result<Self, Invalid> {
        let (mesh, rest) = match labels.get(MESH_LABEL) {
            Some(mesh) => (mesh, id),
            None => id.split_once('.').filter(|(mesh, _)| !mesh.is_empty()).ok_or_else(|| {
                let problem = "is required and must be a valid DNS-1123 label: or write node.id as mesh.name";
                Invalid::new(labels.path(MESH_LABEL), problem)
            })?,
        };
        let stated = labels.get_non_empty(NAMESPACE_LABEL);
        // If one part is empty there is no namespace, and the whole is rejected later as a name.
        let parts = rest.rsplit_once('.').filter(|(name, last)| !name.is_empty() && !last.is_empty());
        let (name, namespace) = match parts {
            Some((name, last)) if stated.is_none_or(|stated| stated == last) => (name, last),
            _ => (rest, stated.unwrap_or_default()),
        };
        Ok(Self { mesh, namespace, name })
    }
}

/// Returns the zone: the label, or else `node.locality.zone`, which is usually a zone of a cloud and so
/// counts only if it is a valid name.
fn zone<'a>(node: &'a Node, labels: &Labels<'a>) -> &'a str {
    let locality = || node.locality.as_ref().map(|locality| locality.zone.as_str());
    let is_valid = |zone: &&str| ZoneName::parse("zone", zone).is_ok();
    labels.get_non_empty(ZONE_LABEL).or_else(|| locality().filter(is_valid)).unwrap_or_default()
}

fn environment(labels: &Labels<'_>) -> Result<Environment, Invalid> {
    match labels.get_non_empty(ENVIRONMENT_LABEL) {
        Some("kubernetes") => Ok(Environment::Kubernetes),
        Some("universal") => Ok(Environment::Universal),
        Some(other) => {
            let problem = format!("{}: must be kubernetes or universal", Quoted(other));
            Err(Invalid::new(labels.path(ENVIRONMENT_LABEL), problem))
        }
        None if labels.get_non_empty(NAMESPACE_LABEL).is_some() => Ok(Environment::Kubernetes),
        None => Ok(Environment::Universal),
    }
}

/// Returns the version of the Envoy, such as `envoy/1.40.0`. It is only informational, so an invalid one
/// is omitted instead of rejected.
fn agent_version(node: &Node) -> String {
    let name = match node.user_agent_name.as_str() {
        "" => "envoy",
        name => name,
    };
    let version = node.user_agent_build_version.as_ref().and_then(|build| build.version.as_ref());
    let version = match version {
        Some(version) => {
            format!("{name}/{}.{}.{}", version.major_number, version.minor_number, version.patch)
        }
        None => node.user_agent_name.clone(),
    };
    let is_valid = version.len() <= MAX_AGENT_VERSION && !version.contains(char::is_control);
    if is_valid { version } else { String::new() }
}

fn inbound(entry: &MetadataStruct<'_>) -> Result<(InboundSpec, Check), Invalid> {
    entry.deny_unknown(&INBOUND_KEYS)?;
    let port = entry.required_port("port")?;
    let check = Check {
        target: Target::Inbound(port.get()),
        endpoint: entry.endpoint(entry.port("servicePort")?.unwrap_or(port))?,
        checker: checker(entry)?,
        may_be_ready: may_be_ready(entry)?,
    };
    let tags = entry.nested("tags")?;
    let tags = tags.iter().flat_map(|tags| tags.strings(|_| true));
    let owned = |tag: Result<(&str, &str), _>| tag.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let spec = InboundSpec {
        port: port.get().into(),
        name: entry.string("name")?.unwrap_or_default().to_owned(),
        tags: tags.map(owned).collect::<Result<_, Invalid>>()?,
    };
    Ok((spec, check))
}

/// Whether the result of the check counts: not if the inbound states, as in Kuma, that it is not ready.
fn may_be_ready(inbound: &MetadataStruct<'_>) -> Result<bool, Invalid> {
    match inbound.string("state")?.unwrap_or("Ready") {
        "Ready" => Ok(true),
        "NotReady" | "Ignored" => Ok(false),
        other => {
            let problem = format!("{}: must be Ready, NotReady or Ignored", Quoted(other));
            Err(Invalid::new(inbound.path("state"), problem))
        }
    }
}

fn checker(inbound: &MetadataStruct<'_>) -> Result<Checker, Invalid> {
    let path = inbound.string("path")?;
    match inbound.string("protocol")?.unwrap_or("tcp") {
        "tcp" if path.is_some() => {
            let problem = "a path is for HTTP: add protocol: http, or leave the path out";
            Err(Invalid::new(inbound.path("path"), problem))
        }
        "tcp" => Ok(Checker::Tcp),
        "http" => {
            let path = path.map(|path| HttpPath::parse(&inbound.path("path"), path)).transpose()?;
            Ok(Checker::Http(path.unwrap_or_default()))
        }
        other => {
            let problem = format!("{}: must be tcp or http", Quoted(other));
            Err(Invalid::new(inbound.path("protocol"), problem))
        }
    }
}

fn admin(metadata: &MetadataStruct<'_>) -> Result<Option<EndpointAddress>, Invalid> {
    let Some(admin) = metadata.nested("admin")? else { return Ok(None) };
    admin.deny_unknown(&ADMIN_KEYS)?;
    let port = admin.required_port("port")?;
    admin.endpoint(port).map(Some)
}
