//! The reference implementation of Envoy nodes: what is valid and what it means, implemented on the
//! metadata as JSON.

use std::collections::{BTreeMap, BTreeSet};

use headcount::{model::WORKLOAD_LABEL, proto::envoy::config::core::v3::Node};
use prost_types::{Value, value::Kind};
use serde_json::{Map, Value as Json};

use super::super::{
    ip,
    rules::{
        self, are_tags, is_dns_1035_label, is_dns_1123_label, is_dns_1123_subdomain, is_label_key,
        is_label_value, is_short_text,
    },
};

const MESH: &str = "kuma.io/mesh";
const ZONE: &str = "kuma.io/zone";
const ENVIRONMENT: &str = "kuma.io/env";
const NAMESPACE: &str = "k8s.kuma.io/namespace";

/// A node, with its metadata as JSON.
pub struct ReferenceNode<'a> {
    node: &'a Node,
    metadata: Map<String, Json>,
}

/// The identity of a valid node, and what else its dataplane has.
pub struct Identity {
    pub mesh: String,
    pub namespace: String,
    pub name: String,
    pub is_kubernetes: bool,
    pub workload: Option<String>,
    pub zone: Option<String>,
    pub agent_version: String,
}

/// A valid inbound.
pub struct Inbound<'a> {
    pub port: u16,
    pub name: &'a str,
    pub address: &'a str,
    pub service_port: u16,
    pub http_path: Option<&'a str>,
    tags: &'a Json,
}

impl Inbound<'_> {
    pub fn tags(&self) -> BTreeMap<String, String> {
        texts(self.tags).unwrap_or_default()
    }
}

impl<'a> ReferenceNode<'a> {
    pub fn new(node: &'a Node) -> Self {
        let fields = node.metadata.iter().flat_map(|metadata| &metadata.fields);
        Self { node, metadata: fields.map(|(key, value)| (key.clone(), json(value))).collect() }
    }

    /// The identity of the node; none if anything in it is invalid.
    pub fn identity(&self) -> Option<Identity> {
        let identity = self.stated_identity()?;
        let labels = self.labels();
        let mut ports = BTreeSet::new();
        let valid = self.labels_agree()
            && labels.len() <= 64
            && labels
                .iter()
                .all(|(key, value)| is_label_key(key) && (key == WORKLOAD_LABEL || is_label_value(value)))
            && self.list("inbounds").is_some_and(|inbounds| {
                inbounds.len() <= 64 && inbounds.iter().all(|inbound| inbound_of(inbound).is_some())
            })
            && self.inbounds().iter().all(|inbound| ports.insert(inbound.port))
            && self.inbounds().iter().map(|inbound| inbound.tags().len()).sum::<usize>() <= 512
            && (self.get("admin").is_null() || self.admin().is_some());
        valid.then_some(identity)
    }

    fn stated_identity(&self) -> Option<Identity> {
        let labels = self.labels();
        let label = |key| labels.get(key).map(String::as_str);
        let stated = |key| label(key).unwrap_or_default();
        let id = self.node.id.as_str();
        let (mesh, rest) = match (label(MESH), id.find('.')) {
            (Some(mesh), _) => (mesh, id),
            (None, Some(dot)) => (&id[..dot], &id[dot + 1..]),
            (None, None) => return None,
        };
        let (name, namespace) = match (stated(NAMESPACE), rest.rfind('.')) {
            ("", Some(dot)) => (&rest[..dot], &rest[dot + 1..]),
            ("", None) => (rest, "default"),
            (namespace, _) => (rest.strip_suffix(&format!(".{namespace}")).unwrap_or(rest), namespace),
        };
        let is_kubernetes = match stated(ENVIRONMENT) {
            "kubernetes" => true,
            "universal" => false,
            "" => !stated(NAMESPACE).is_empty(),
            _ => return None,
        };
        let zone = match (stated(ZONE), &self.node.locality) {
            ("", Some(locality)) if is_dns_1123_label(&locality.zone) => locality.zone.as_str(),
            (zone, _) => zone,
        };
        let owner = rules::Owner { mesh, namespace, name, zone, is_kubernetes };
        let workloads = self.workloads(is_kubernetes);
        let is_workload = if is_kubernetes { is_dns_1123_subdomain } else { is_dns_1035_label };
        let valid = is_dns_1123_label(mesh)
            && is_dns_1123_label(namespace)
            && is_dns_1123_subdomain(name)
            && (zone.is_empty() || is_dns_1123_label(zone))
            && rules::owned_labels_agree(&labels, owner)
            && workloads.len() <= 1
            && workloads.iter().all(|workload| is_workload(workload));
        valid.then(|| Identity {
            mesh: mesh.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            is_kubernetes,
            workload: workloads.first().cloned(),
            zone: Some(zone.to_owned()).filter(|zone| !zone.is_empty()),
            agent_version: self.agent_version(),
        })
    }

    fn agent_version(&self) -> String {
        let name = &self.node.user_agent_name;
        let build = self.node.user_agent_build_version.as_ref();
        let text = match build.and_then(|build| build.version) {
            None => name.clone(),
            Some(version) => {
                let name = if name.is_empty() { "envoy" } else { name };
                format!("{name}/{}.{}.{}", version.major_number, version.minor_number, version.patch)
            }
        };
        if is_short_text(&text, 64) { text } else { String::new() }
    }

    /// The workload's names in every label and tag that may hold one.
    fn workloads(&self, is_kubernetes: bool) -> BTreeSet<String> {
        let mut found: BTreeSet<_> = self.labels().remove(WORKLOAD_LABEL).into_iter().collect();
        if !is_kubernetes {
            found.extend(self.inbounds().iter().filter_map(|inbound| inbound.tags().remove(WORKLOAD_LABEL)));
        }
        found.retain(|name| !name.is_empty());
        found
    }

    /// Labels of the metadata itself, which have a prefix, and of its `labels`.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let prefixed = self.prefixed().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.into())));
        prefixed.chain(texts(self.get("labels")).unwrap_or_default()).collect()
    }

    fn prefixed(&self) -> impl Iterator<Item = (&String, &Json)> {
        self.metadata.iter().filter(|(key, _)| key.split('/').count() > 1)
    }

    /// Whether all labels are text and no two contradict each other.
    fn labels_agree(&self) -> bool {
        let Some(others) = texts(self.get("labels")) else { return false };
        self.prefixed().all(|(key, value)| match value {
            Json::String(value) => others.get(key).is_none_or(|other| other == value),
            _ => false,
        })
    }

    /// The valid inbounds.
    pub fn inbounds(&self) -> Vec<Inbound<'_>> {
        self.list("inbounds").into_iter().flatten().filter_map(inbound_of).collect()
    }

    /// Address and port of the admin interface, if they are valid.
    pub fn admin(&self) -> Option<(&str, u16)> {
        let admin = self.get("admin").as_object()?;
        let known = admin.keys().all(|key| ["address", "port"].contains(&key.as_str()));
        Some((address_of(admin)?, required_port_of(admin, "port")?)).filter(|_| known)
    }

    fn get(&self, key: &str) -> &Json {
        self.metadata.get(key).unwrap_or(&Json::Null)
    }

    fn list(&self, key: &str) -> Option<&[Json]> {
        match self.get(key) {
            Json::Null => Some(&[]),
            Json::Array(list) => Some(list),
            _ => None,
        }
    }

    /// The paths of all fields that a rejection may name.
    pub fn fields(&self) -> BTreeSet<String> {
        let mut fields: BTreeSet<_> =
            ["node.id", "node.metadata.kuma.io/mesh", "node.metadata.labels"].map(str::to_owned).into();
        for (key, value) in &self.metadata {
            add_fields(&mut fields, path("node.metadata", key), value);
        }
        fields
    }
}

fn add_fields(fields: &mut BTreeSet<String>, at: String, value: &Json) {
    match value {
        Json::Object(entries) => {
            for (key, value) in entries {
                add_fields(fields, path(&at, key), value);
                fields.insert(rules::entry(&at, key));
            }
            // A rejection may name a port that is missing.
            fields.insert(path(&at, "port"));
        }
        Json::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                add_fields(fields, format!("{at}[{index}]"), value);
            }
        }
        _ => {}
    }
    fields.insert(at);
}

/// The path of a key: as it is, or quoted and shortened if it has unusual characters.
fn path(at: &str, key: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if !key.is_empty() && key.len() <= 317 && key.chars().all(is_plain) {
        return format!("{at}.{key}");
    }
    let start: String = key.chars().take(253).collect();
    let ellipsis = if start.len() < key.len() { "..." } else { "" };
    format!("{at}[{start:?}{ellipsis}]")
}

fn inbound_of(stated: &Json) -> Option<Inbound<'_>> {
    let inbound = stated.as_object()?;
    let known = ["port", "servicePort", "address", "name", "protocol", "path", "state", "tags"];
    let port = required_port_of(inbound, "port")?;
    let get = |key| inbound.get(key).unwrap_or(&Json::Null);
    let http_path = match (get("protocol"), get("path")) {
        (Json::Null, Json::Null) => None,
        (Json::String(protocol), Json::Null) if protocol == "tcp" => None,
        (Json::String(protocol), Json::Null) if protocol == "http" => Some("/"),
        (Json::String(protocol), Json::String(path)) if protocol == "http" && is_path(path) => {
            Some(path.as_str())
        }
        _ => return None,
    };
    let name = match get("name") {
        Json::Null => "",
        Json::String(name) if is_short_text(name, 63) && !rules::has_placeholder(name) => name,
        _ => return None,
    };
    let tags = get("tags");
    let known_states = ["Ready", "NotReady", "Ignored"];
    let valid = inbound.keys().all(|key| known.contains(&key.as_str()))
        && (get("state").is_null()
            || get("state").as_str().is_some_and(|state| known_states.contains(&state)))
        && texts(tags).is_some_and(|tags| are_tags(&tags));
    let service_port = match port_of(inbound, "servicePort")? {
        0 => port,
        stated => stated,
    };
    Some(Inbound { port, name, address: address_of(inbound)?, service_port, http_path, tags })
        .filter(|_| valid)
}

fn is_path(path: &str) -> bool {
    (1..=1_024).contains(&path.len())
        && path.starts_with('/')
        && path.chars().all(|c| ('!'..='~').contains(&c))
}

fn address_of(stated: &Map<String, Json>) -> Option<&str> {
    match stated.get("address").unwrap_or(&Json::Null) {
        Json::Null => Some("127.0.0.1"),
        Json::String(address) if address.is_empty() => Some("127.0.0.1"),
        Json::String(address) if ip::is_literal(address) => Some(address),
        _ => None,
    }
}

/// The port of a key: 0 if the key is absent, none if the value is not a port.
fn port_of(stated: &Map<String, Json>, key: &str) -> Option<u16> {
    match stated.get(key).unwrap_or(&Json::Null) {
        Json::Null => Some(0),
        // A number is a port if it is printed as one, without a fraction.
        Json::Number(number) => number.as_f64()?.to_string().parse().ok().filter(|port| *port != 0),
        _ => None,
    }
}

fn required_port_of(stated: &Map<String, Json>, key: &str) -> Option<u16> {
    port_of(stated, key).filter(|port| *port != 0)
}

/// The entries of a map of text; empty if there is no map, none if a value is not text.
fn texts(value: &Json) -> Option<BTreeMap<String, String>> {
    let entries = match value {
        Json::Null => return Some(BTreeMap::new()),
        value => value.as_object()?,
    };
    entries.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn json(value: &Value) -> Json {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        // JSON has no NaN. `false` stands for it: neither is a port or text.
        Some(Kind::NumberValue(number)) => {
            serde_json::Number::from_f64(*number).map_or(Json::Bool(false), Json::Number)
        }
        Some(Kind::StringValue(text)) => Json::String(text.clone()),
        Some(Kind::BoolValue(is)) => Json::Bool(*is),
        Some(Kind::ListValue(list)) => Json::Array(list.values.iter().map(json).collect()),
        Some(Kind::StructValue(fields)) => {
            Json::Object(fields.fields.iter().map(|(key, value)| (key.clone(), json(value))).collect())
        }
    }
}
