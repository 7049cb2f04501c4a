//! Who an Envoy is: its node, as its bootstrap has it.
//!
//! ```yaml
//! node:
//!   id: web-1.shop                   # name.namespace, or Kuma's mesh.name
//!   metadata:
//!     kuma.io/mesh: default          # labels: whatever has a prefix
//!     kuma.io/workload: web
//!     labels: {app: web}             # and these
//!     inbounds:                      # what is checked
//!       - {port: 8080, servicePort: 9080, protocol: http, path: /healthz}
//!     admin: {port: 9901}            # the Envoy's own readiness
//! ```

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::value::Kind;

use super::{
    checks::{Check, Checks, HttpPath, Place, Probe, Target},
    metadata::Entries,
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

/// Where the metadata stands in a bootstrap.
const METADATA: &str = "node.metadata";
/// All that an inbound may say.
const INBOUND_KEYS: [&str; 7] = ["port", "servicePort", "address", "name", "protocol", "path", "tags"];
/// All that is said of the admin interface.
const ADMIN_KEYS: [&str; 2] = ["address", "port"];

/// What an Envoy has said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Who it is.
    pub dataplane: Dataplane,
    /// What it is asked to check.
    pub checks: Checks,
}

/// Reads the node from the first message of a stream. What the node says is not
/// looked at.
pub fn read(first: &[u8]) -> Result<Node, Invalid> {
    let said = HealthCheckRequestOrEndpointHealthResponse::decode(first)
        .map_err(|error| Invalid::new("message", error.to_string()))?;
    let missing = "is required: the first message says who the Envoy is";
    match said.request_type {
        Some(RequestType::HealthCheckRequest(request)) => {
            request.node.ok_or_else(|| Invalid::new("health_check_request.node", missing))
        }
        Some(RequestType::EndpointHealthResponse(_)) | None => {
            Err(Invalid::new("health_check_request", missing))
        }
    }
}

/// What an Envoy calls itself, for a person who wonders why it was not let in.
pub fn unknown_proxy(node: &Node) -> UnknownProxy {
    let metadata = node.metadata.as_ref().and_then(|metadata| metadata.fields.get(NAMESPACE_LABEL));
    let stated = match metadata.and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(namespace)) => namespace,
        _ => "",
    };
    // One that is wrong itself is not where anybody looks.
    let namespace = Namespace::parse("namespace", stated).unwrap_or_default();
    UnknownProxy::new(namespace, &node.id)
}

impl Proxy {
    /// Reads what a node says. The error names the first field that is wrong, as
    /// the bootstrap has it.
    pub fn parse(node: &Node, limits: DataplaneLimits) -> Result<Self, Invalid> {
        let nothing = BTreeMap::new();
        let metadata = node.metadata.as_ref().map_or(&nothing, |metadata| &metadata.fields);
        let metadata = Entries::new(METADATA, metadata);
        let labels = Labels::gather(&metadata)?;
        let id = Id::parse(&node.id, &labels)?;
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
            dataplane: Dataplane::parse(&spec, limits).map_err(|invalid| labels.as_written(invalid))?,
            checks: Checks::new(checks, admin(&metadata)?),
        })
    }
}

/// Labels, from both places that may have them.
struct Labels<'a>(BTreeMap<&'a str, Label<'a>>);

struct Label<'a> {
    value: &'a str,
    /// Where it was written.
    path: String,
}

impl<'a> Labels<'a> {
    /// Each entry of the metadata whose key has a prefix, and all of `labels`.
    /// What else is there is meant for others.
    fn gather(metadata: &Entries<'a>) -> Result<Self, Invalid> {
        let mut gathered = BTreeMap::new();
        for label in metadata.texts(|key| key.contains('/')) {
            let (key, value) = label?;
            gathered.insert(key, Label { value, path: metadata.path(key) });
        }
        let Some(labels) = metadata.entries("labels")? else {
            return Ok(Self(gathered));
        };
        for label in labels.texts(|_| true) {
            let (key, value) = label?;
            let label = Label { value, path: labels.path(key) };
            if gathered.insert(key, label).is_some_and(|other| other.value != value) {
                let problem =
                    "disagrees with the entry of this name in node.metadata: give both the same value";
                return Err(Invalid::new(labels.path(key), problem));
            }
        }
        Ok(Self(gathered))
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).map(|label| label.value)
    }

    /// None if it is absent or empty.
    fn get_some(&self, key: &str) -> Option<&'a str> {
        self.get(key).filter(|value| !value.is_empty())
    }

    /// Where a label was written, or would be.
    fn path(&self, key: &str) -> String {
        self.0.get(key).map_or_else(|| format!("{METADATA}.{key}"), |label| label.path.clone())
    }

    fn to_map(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(key, label)| ((*key).to_owned(), label.value.to_owned())).collect()
    }

    /// A problem with the dataplane, as one with what its Envoy has written.
    fn as_written(&self, Invalid { field, problem }: Invalid) -> Invalid {
        let path_or_id = |is_label, key| if is_label { self.path(key) } else { "node.id".to_owned() };
        let field = match field.as_str() {
            "name" => "node.id".to_owned(),
            "mesh" => path_or_id(self.get(MESH_LABEL).is_some(), MESH_LABEL),
            "namespace" => path_or_id(self.get_some(NAMESPACE_LABEL).is_some(), NAMESPACE_LABEL),
            "zone" => self.path(ZONE_LABEL),
            _ => match self.0.iter().find(|(key, _)| entry("labels", key) == field) {
                Some((_, label)) => label.path.clone(),
                None => format!("{METADATA}.{field}"),
            },
        };
        // The one problem of two fields.
        let problem = problem.replace(&entry("labels", WORKLOAD_LABEL), &self.path(WORKLOAD_LABEL));
        Invalid { field, problem }
    }
}

/// What an Envoy's id and its metadata say of its name.
struct Id<'a> {
    mesh: &'a str,
    /// Empty if nobody says.
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Id<'a> {
    fn parse(id: &'a str, labels: &Labels<'a>) -> Result<Self, Invalid> {
        let (mesh, rest) = match labels.get(MESH_LABEL) {
            Some(mesh) => (mesh, id),
            None => id.split_once('.').filter(|(mesh, _)| !mesh.is_empty()).ok_or_else(|| {
                let problem = "is required and must be a valid DNS-1123 label: or write node.id as mesh.name";
                Invalid::new(labels.path(MESH_LABEL), problem)
            })?,
        };
        let stated = labels.get_some(NAMESPACE_LABEL);
        // Where one half is empty there is no namespace, and the whole is no name.
        let halves = rest.rsplit_once('.').filter(|(name, last)| !name.is_empty() && !last.is_empty());
        let (name, namespace) = match halves {
            Some((name, last)) if stated.is_none_or(|stated| stated == last) => (name, last),
            _ => (rest, stated.unwrap_or_default()),
        };
        Ok(Self { mesh, namespace, name })
    }
}

/// The mesh's zone. What an Envoy calls one is its cloud's, so it only counts if
/// nobody says better, and if it could be one.
fn zone<'a>(node: &'a Node, labels: &Labels<'a>) -> &'a str {
    let locality = || node.locality.as_ref().map(|locality| locality.zone.as_str());
    let could_be = |zone: &&str| ZoneName::parse("zone", zone).is_ok();
    labels.get_some(ZONE_LABEL).or_else(|| locality().filter(could_be)).unwrap_or_default()
}

fn environment(labels: &Labels<'_>) -> Result<Environment, Invalid> {
    match labels.get_some(ENVIRONMENT_LABEL) {
        Some("kubernetes") => Ok(Environment::Kubernetes),
        Some("universal") => Ok(Environment::Universal),
        Some(other) => {
            let problem = format!("{}: must be kubernetes or universal", Quoted(other));
            Err(Invalid::new(labels.path(ENVIRONMENT_LABEL), problem))
        }
        None if labels.get_some(NAMESPACE_LABEL).is_some() => Ok(Environment::Kubernetes),
        None => Ok(Environment::Universal),
    }
}

/// Such as `envoy/1.40.0`. Nobody depends on it, so one that is too strange is
/// left out.
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
    let usual = version.len() <= MAX_AGENT_VERSION && !version.contains(char::is_control);
    if usual { version } else { String::new() }
}

fn inbound(stated: &Entries<'_>) -> Result<(InboundSpec, Check), Invalid> {
    stated.only(&INBOUND_KEYS)?;
    let port = stated.required_port("port")?;
    let check = Check {
        target: Target::Inbound(port.get()),
        at: stated.place(stated.port("servicePort")?.unwrap_or(port))?,
        probe: probe(stated)?,
    };
    let tags = stated.entries("tags")?;
    let tags = tags.iter().flat_map(|tags| tags.texts(|_| true));
    let owned = |tag: Result<(&str, &str), _>| tag.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let spec = InboundSpec {
        port: port.get().into(),
        name: stated.text("name")?.unwrap_or_default().to_owned(),
        tags: tags.map(owned).collect::<Result<_, Invalid>>()?,
    };
    Ok((spec, check))
}

fn probe(stated: &Entries<'_>) -> Result<Probe, Invalid> {
    let path = stated.text("path")?;
    match stated.text("protocol")?.unwrap_or("tcp") {
        "tcp" if path.is_some() => {
            let problem = "a path is for HTTP: say protocol: http as well, or leave it out";
            Err(Invalid::new(stated.path("path"), problem))
        }
        "tcp" => Ok(Probe::Tcp),
        "http" => {
            let path = path.map(|path| HttpPath::parse(&stated.path("path"), path)).transpose()?;
            Ok(Probe::Http(path.unwrap_or_default()))
        }
        other => {
            let problem = format!("{}: must be tcp or http", Quoted(other));
            Err(Invalid::new(stated.path("protocol"), problem))
        }
    }
}

fn admin(metadata: &Entries<'_>) -> Result<Option<Place>, Invalid> {
    let Some(stated) = metadata.entries("admin")? else { return Ok(None) };
    stated.only(&ADMIN_KEYS)?;
    let port = stated.required_port("port")?;
    stated.place(port).map(Some)
}
