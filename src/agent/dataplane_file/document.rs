//! Kuma's Dataplane resource, in the formats of Universal and of Kubernetes.

use std::collections::BTreeMap;

use super::{DataplaneFile, Paths, fold::fold, inbound::Inbound, keys};
use crate::{
    agent::AGENT_VERSION,
    convert::document::YamlMap,
    model::{
        DEFAULT_MESH, DataplaneSpec, Environment, InboundSpec, Invalid, MESH_LABEL, Quoted, WORKLOAD_LABEL,
        check_address,
    },
};

const REQUIRED_NETWORKING: &str =
    "is required: list the inbounds of the proxy in it, or mark the proxy as a gateway";

/// Most warnings about one document, and one that counts the rest.
const MAX_WARNINGS: usize = 20;

/// What both formats state outside of `networking`.
struct Resource<'a> {
    mesh: String,
    namespace: &'a str,
    name: &'a str,
    labels: BTreeMap<String, String>,
    environment: Environment,
    networking: YamlMap<'a>,
    paths: Paths,
}

impl DataplaneFile {
    /// Converts a document.
    pub(super) fn from_document(root: &YamlMap<'_>) -> Result<Self, Invalid> {
        let mut warnings = Vec::new();
        let is_kubernetes = ["apiVersion", "kind", "metadata", "spec"].into_iter().any(|key| root.has(key));
        let resource =
            if is_kubernetes { kubernetes(root, &mut warnings)? } else { universal(root, &mut warnings)? };
        let Resource { mesh, namespace, name, labels, environment, networking, mut paths } = resource;
        networking.warn_unknown(keys::NETWORKING, &mut warnings);
        if networking.has("ingress") {
            let problem =
                "is the form of Kuma's first releases: write listeners with an item of type ZoneIngress";
            return Err(Invalid::new(networking.path("ingress"), problem));
        }
        let address = address(&networking, "address")?;
        let advertised = self::address(&networking, "advertisedAddress")?;
        paths.address = networking.path(if advertised.is_some() { "advertisedAddress" } else { "address" });
        check_outbounds(&networking, &mut warnings)?;
        check_gateway(&networking, &mut warnings)?;
        let proxy_may_be_ready = listeners_may_be_ready(&networking, &mut warnings)?;
        let inbounds = inbounds(&networking, address, &mut warnings)?;
        let inbounds = fold(inbounds)?;
        let admin_port = match networking.map("admin")? {
            Some(admin) => {
                admin.warn_unknown(keys::ADMIN, &mut warnings);
                admin.port("port")?
            }
            None => None,
        };
        let spec = DataplaneSpec {
            mesh,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            environment,
            labels,
            address: advertised.or(address).unwrap_or_default().to_owned(),
            inbounds: inbounds.iter().map(|inbound| inbound.spec.clone()).collect::<Vec<InboundSpec>>(),
            agent_version: AGENT_VERSION.to_owned(),
            ..DataplaneSpec::default()
        };
        let inbounds = inbounds.into_iter().map(|inbound| inbound.health).collect();
        if warnings.len() > MAX_WARNINGS {
            let rest = warnings.split_off(MAX_WARNINGS).len();
            warnings.push(format!("{rest} more keys are not used"));
        }
        Ok(Self { spec, inbounds, proxy_may_be_ready, admin_port, warnings, paths })
    }
}

fn universal<'a>(root: &YamlMap<'a>, warnings: &mut Vec<String>) -> Result<Resource<'a>, Invalid> {
    root.warn_unknown(keys::ROOT, warnings);
    check_kind(root, "type")?;
    let labels = root.texts("labels")?;
    Ok(Resource {
        mesh: root.text("mesh")?.unwrap_or_default().to_owned(),
        namespace: "",
        name: root.text("name")?.unwrap_or_default(),
        environment: Environment::of_labels(&labels),
        labels,
        networking: required(root, "networking")?,
        paths: Paths::universal(),
    })
}

/// Kuma stores a Dataplane so on Kubernetes: mesh at the top, labels in the metadata, and the
/// workload in an annotation, because it may be longer than a label.
fn kubernetes<'a>(root: &YamlMap<'a>, warnings: &mut Vec<String>) -> Result<Resource<'a>, Invalid> {
    root.warn_unknown(keys::KUBERNETES_ROOT, warnings);
    check_kind(root, "kind")?;
    let metadata = required(root, "metadata")?;
    let spec = required(root, "spec")?;
    spec.warn_unknown(keys::SPEC, warnings);
    let mut labels = metadata.texts("labels")?;
    let mut paths = Paths::kubernetes();
    if let Some(workload) = metadata.texts("annotations")?.remove(WORKLOAD_LABEL)
        && !workload.is_empty()
    {
        labels.insert(WORKLOAD_LABEL.to_owned(), workload);
        paths.workload_is_annotation = true;
    }
    let labelled = labels.get(MESH_LABEL).map(String::as_str).filter(|mesh| !mesh.is_empty());
    let mesh = root.text("mesh")?.or(labelled).unwrap_or(DEFAULT_MESH).to_owned();
    Ok(Resource {
        mesh,
        namespace: metadata.text("namespace")?.unwrap_or_default(),
        name: metadata.text("name")?.unwrap_or_default(),
        labels,
        environment: Environment::Kubernetes,
        networking: required(&spec, "networking")?,
        paths,
    })
}

/// Checks that the document is a Dataplane: the key is absent or says so.
fn check_kind(root: &YamlMap<'_>, key: &str) -> Result<(), Invalid> {
    match root.text(key)? {
        None | Some("Dataplane") => Ok(()),
        Some(other) => Err(Invalid::new(key, format!("{}: must be Dataplane", Quoted(other)))),
    }
}

fn required<'a>(map: &YamlMap<'a>, key: &str) -> Result<YamlMap<'a>, Invalid> {
    let problem = if key == "networking" { REQUIRED_NETWORKING } else { "is required" };
    map.map(key)?.ok_or_else(|| Invalid::new(map.path(key), problem))
}

/// An address in the document; none if it is absent.
pub(super) fn address<'a>(map: &YamlMap<'a>, key: &str) -> Result<Option<&'a str>, Invalid> {
    let address = map.text(key)?;
    address.map_or(Ok(()), |address| check_address(&map.path(key), address))?;
    Ok(address)
}

/// The inbounds of a proxy. A gateway and a zone proxy have none.
fn inbounds(
    networking: &YamlMap<'_>,
    address: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Inbound>, Invalid> {
    let path = networking.path("inbound");
    let inbounds = networking.list("inbound")?;
    let other = networking.has("gateway") || !networking.list("listeners")?.is_empty();
    match (inbounds.is_empty(), networking.has("gateway")) {
        (false, true) => {
            return Err(Invalid::new(path, "a gateway has none: remove inbound, or gateway"));
        }
        // Without this check a misspelt key would make a dataplane that is always healthy.
        (true, false) if !other && let Some(key) = networking.unknown(keys::NETWORKING).next() => {
            return Err(networking.unknown_key(key, keys::NETWORKING));
        }
        (true, false) if !other => {
            warnings.push(format!(
                "{path}: is empty: the dataplane counts as healthy while its proxy is ready; list the ports of the application in it"
            ));
        }
        _ => {}
    }
    inbounds.iter().map(|inbound| Inbound::parse(inbound, networking, address, warnings)).collect()
}

/// The agent uses no outbounds.
fn check_outbounds(networking: &YamlMap<'_>, warnings: &mut Vec<String>) -> Result<(), Invalid> {
    for outbound in networking.list("outbound")? {
        if outbound.has("interface") {
            let old = keys::instead_of_interface(outbound.text("interface")?, false);
            warnings.push(format!("{}: {old}; the agent uses no outbounds", outbound.path("interface")));
        } else {
            outbound.warn_unknown(keys::OUTBOUND, warnings);
        }
    }
    for key in ["transparentProxying", "transparent_proxying"] {
        if let Some(transparent) = networking.map(key)? {
            transparent.warn_unknown(keys::TRANSPARENT_PROXYING, warnings);
        }
    }
    Ok(())
}

fn check_gateway(networking: &YamlMap<'_>, warnings: &mut Vec<String>) -> Result<(), Invalid> {
    if let Some(gateway) = networking.map("gateway")? {
        gateway.warn_unknown(keys::GATEWAY, warnings);
        if let Some(other) = gateway.text("type")?.filter(|kind| !["DELEGATED", "BUILTIN"].contains(kind)) {
            let problem = format!("{}: must be DELEGATED, or BUILTIN before Kuma 3", Quoted(other));
            return Err(Invalid::new(gateway.path("type"), problem));
        }
    }
    Ok(())
}

/// Whether a zone proxy may be ready: unless all of its listeners state that they are not. The
/// inbounds of any other proxy state that themselves.
fn listeners_may_be_ready(networking: &YamlMap<'_>, warnings: &mut Vec<String>) -> Result<bool, Invalid> {
    let listeners = networking.list("listeners")?;
    let mut ready = listeners.is_empty() || !networking.list("inbound")?.is_empty();
    for listener in listeners {
        listener.warn_unknown(keys::LISTENER, warnings);
        address(&listener, "address")?;
        match listener.text("state")?.unwrap_or("Ready") {
            "Ready" => ready = true,
            "NotReady" => {}
            other => {
                let problem = format!("{}: must be Ready or NotReady", Quoted(other));
                return Err(Invalid::new(listener.path("state"), problem));
            }
        }
    }
    Ok(ready)
}
