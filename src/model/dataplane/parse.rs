//! Validation of dataplanes.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{
    Dataplane, DataplaneKey, DataplaneLimits, DataplaneSpec, Environment, Inbound, InboundSpec,
    owned::check_owned,
};
use crate::model::{
    DataplaneName, Health, Invalid, Labels, MeshName, NAMESPACE_LABEL, Namespace, WORKLOAD_LABEL,
    WorkloadName, ZONE_LABEL, ZoneName, check_address, entry, name::Quoted, unfilled,
};

/// Bytes of an inbound's name, as for the port of a Kubernetes Service.
const MAX_INBOUND_NAME: usize = 63;
/// Bytes of an agent's version: enough for one with build metadata.
pub const MAX_AGENT_VERSION: usize = 64;

impl Dataplane {
    /// Validates a dataplane.
    ///
    /// # Errors
    ///
    /// If a field is invalid; the error names the first one.
    pub fn parse(spec: &DataplaneSpec, limits: DataplaneLimits) -> Result<Self, Invalid> {
        let labels = &spec.labels;
        let key = DataplaneKey {
            mesh: MeshName::parse("mesh", &spec.mesh)?,
            namespace: or_label("namespace", &spec.namespace, labels, NAMESPACE_LABEL, Namespace::parse)?
                .unwrap_or_default(),
            name: DataplaneName::parse("name", &spec.name)?,
        };
        let zone = or_label("zone", &spec.zone, labels, ZONE_LABEL, ZoneName::parse)?;
        let labels = Labels::parse("labels", labels, limits.labels)?;
        check_owned(&labels, &key, zone.as_ref(), spec.environment)?;
        let inbounds = parse_inbounds(&spec.inbounds, limits)?;
        let workload = workload_of(spec.environment, &labels, &inbounds)?;
        Ok(Self {
            key,
            zone,
            environment: spec.environment,
            labels,
            address: parse_address(&spec.address)?,
            inbounds,
            workload,
            agent_version: short_text("agent_version", &spec.agent_version, MAX_AGENT_VERSION)?,
        })
    }
}

/// Parses a field, or the label that states the same if the field is empty.
fn or_label<T>(
    field: &str,
    text: &str,
    labels: &BTreeMap<String, String>,
    label: &str,
    parse: impl Fn(&str, &str) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    if !text.is_empty() {
        return parse(field, text).map(Some);
    }
    let labelled = labels.get(label).filter(|value| !value.is_empty());
    labelled.map(|value| parse(&entry("labels", label), value)).transpose()
}

/// Parses the address at which other proxies reach this one; it may be empty.
fn parse_address(text: &str) -> Result<Box<str>, Invalid> {
    if !text.is_empty() {
        check_address("address", text)?;
    }
    if text.parse().is_ok_and(|address: IpAddr| address.is_unspecified()) {
        let problem = format!("{}: write the address at which others reach the proxy", Quoted(text));
        return Err(Invalid::new("address", problem));
    }
    Ok(text.into())
}

fn parse_inbounds(specs: &[InboundSpec], limits: DataplaneLimits) -> Result<Arc<[Inbound]>, Invalid> {
    let limit = limits.inbounds.min(Health::MAX_INBOUNDS);
    if specs.len() > limit {
        let problem = format!("{} inbounds: at most {limit} are allowed, leave some out", specs.len());
        return Err(Invalid::new("inbounds", problem));
    }
    let mut inbounds: Vec<Inbound> = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let inbound =
            parse_inbound(spec, limits).map_err(|problem| problem.within(&format!("inbounds[{index}]")))?;
        if let Some(first) = inbounds.iter().position(|other| other.port == inbound.port) {
            let problem =
                format!("{} is declared by inbounds[{first}] already: declare each port once", spec.port);
            return Err(Invalid::new(format!("inbounds[{index}].port"), problem));
        }
        inbounds.push(inbound);
    }
    let tags: usize = inbounds.iter().map(|inbound| inbound.tags.iter().count()).sum();
    if tags > limits.all_tags {
        let problem = format!("{tags} tags in all: at most {} are allowed, leave some out", limits.all_tags);
        return Err(Invalid::new("inbounds", problem));
    }
    Ok(inbounds.into())
}

fn parse_inbound(spec: &InboundSpec, limits: DataplaneLimits) -> Result<Inbound, Invalid> {
    let port = u16::try_from(spec.port)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| Invalid::new("port", format!("{}: must be between 1 and 65535", spec.port)))?;
    if let Some(problem) = unfilled(&spec.name) {
        return Err(Invalid::new("name", problem));
    }
    Ok(Inbound {
        port,
        name: short_text("name", &spec.name, MAX_INBOUND_NAME)?,
        tags: Labels::parse_tags("tags", &spec.tags, limits.labels)?,
    })
}

/// Returns the workload's name from the label or, on Universal, from the inbound tags as well.
/// All that are present must agree. An empty value counts as absent: templates leave one where
/// nothing was to be filled in.
fn workload_of(
    environment: Environment,
    labels: &Labels,
    inbounds: &[Inbound],
) -> Result<Option<WorkloadName>, Invalid> {
    let label = labels.get(WORKLOAD_LABEL).filter(|value| !value.is_empty());
    let label = label.map(|value| (format!("labels[{WORKLOAD_LABEL:?}]"), value));
    if environment == Environment::Kubernetes {
        return label.map(|(place, value)| WorkloadName::parse_kubernetes(&place, value)).transpose();
    }
    let tags = inbounds.iter().enumerate().filter_map(|(index, inbound)| {
        let value = inbound.tags.get(WORKLOAD_LABEL).filter(|value| !value.is_empty())?;
        Some((format!("inbounds[{index}].tags[{WORKLOAD_LABEL:?}]"), value))
    });
    let mut found: Option<(String, WorkloadName)> = None;
    for (place, value) in label.into_iter().chain(tags) {
        let name = WorkloadName::parse_universal(&place, value)?;
        match &found {
            Some((first_place, first)) if *first != name => {
                let problem =
                    format!("{value:?} disagrees with {first_place} ({first:?}): give all the same value");
                return Err(Invalid::new(place, problem));
            }
            Some(_) => {}
            None => found = Some((place, name)),
        }
    }
    Ok(found.map(|(_, name)| name))
}

fn short_text<T: for<'a> From<&'a str>>(field: &str, text: &str, limit: usize) -> Result<T, Invalid> {
    if text.len() > limit {
        Err(Invalid::new(field, format!("{} bytes: at most {limit} are allowed", text.len())))
    } else if text.chars().any(char::is_control) {
        Err(Invalid::new(field, "may not contain control characters"))
    } else {
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::DataplaneSpec;

    fn spec() -> DataplaneSpec {
        DataplaneSpec { mesh: "default".into(), name: "web-1".into(), ..DataplaneSpec::default() }
    }

    fn inbound(port: u32, workload: Option<&str>) -> InboundSpec {
        let tags = workload.map(|name| (WORKLOAD_LABEL.to_owned(), name.to_owned()));
        InboundSpec { port, tags: tags.into_iter().collect(), ..InboundSpec::default() }
    }

    fn labelled(name: &str) -> DataplaneSpec {
        DataplaneSpec { labels: BTreeMap::from([(WORKLOAD_LABEL.into(), name.into())]), ..spec() }
    }

    fn parse(spec: &DataplaneSpec) -> Result<Dataplane, Invalid> {
        Dataplane::parse(spec, DataplaneLimits::default())
    }

    fn error(spec: &DataplaneSpec) -> String {
        parse(spec).unwrap_err().to_string()
    }

    #[test]
    fn the_workload_is_read_from_label_or_tags() {
        assert_eq!(parse(&spec()).unwrap().workload, None);
        assert_eq!(parse(&labelled("web")).unwrap().workload.unwrap().as_str(), "web");
        let tagged = DataplaneSpec { inbounds: vec![inbound(80, None), inbound(81, Some("web"))], ..spec() };
        assert_eq!(parse(&tagged).unwrap().workload.unwrap().as_str(), "web");
        let both = DataplaneSpec { inbounds: vec![inbound(80, Some("web"))], ..labelled("web") };
        assert_eq!(parse(&both).unwrap().workload.unwrap().as_str(), "web");
    }

    #[test]
    fn labels_and_tags_must_agree_on_the_workload() {
        let message = error(&DataplaneSpec { inbounds: vec![inbound(80, Some("api"))], ..labelled("web") });
        assert_eq!(
            message,
            "inbounds[0].tags[\"kuma.io/workload\"]: \"api\" disagrees with labels[\"kuma.io/workload\"] (\"web\"): give all the same value"
        );
    }

    #[test]
    fn on_kubernetes_names_may_be_subdomains_and_tags_are_ignored() {
        let mut spec = labelled("1.a");
        assert!(error(&spec).contains("DNS-1035"));
        spec.environment = Environment::Kubernetes;
        spec.inbounds = vec![inbound(80, Some("other"))];
        assert_eq!(parse(&spec).unwrap().workload.unwrap().as_str(), "1.a");
    }

    #[test]
    fn an_empty_workload_label_counts_as_absent() {
        assert_eq!(parse(&labelled("")).unwrap().workload, None);
        let tagged = DataplaneSpec { inbounds: vec![inbound(80, Some("web"))], ..labelled("") };
        assert_eq!(parse(&tagged).unwrap().workload.unwrap().as_str(), "web");
    }

    #[test]
    fn ports_must_be_valid_and_unique() {
        let with = |ports: &[u32]| DataplaneSpec {
            inbounds: ports.iter().map(|p| inbound(*p, None)).collect(),
            ..spec()
        };
        assert_eq!(error(&with(&[80, 0])), "inbounds[1].port: 0: must be between 1 and 65535");
        assert_eq!(error(&with(&[65536])), "inbounds[0].port: 65536: must be between 1 and 65535");
        assert_eq!(
            error(&with(&[80, 81, 80])),
            "inbounds[2].port: 80 is declared by inbounds[0] already: declare each port once"
        );
        let ports: Vec<u32> = (1..=65).collect();
        assert!(error(&with(&ports)).starts_with("inbounds: 65 inbounds: at most 64"));
        assert_eq!(parse(&with(&ports[..64])).unwrap().inbound_index(64), Some(63));
    }

    #[test]
    fn the_total_number_of_tags_is_limited() {
        let tagged = |each: usize| {
            let tags: BTreeMap<_, _> = (0..each).map(|tag| (format!("t{tag}"), String::new())).collect();
            let inbounds =
                (1..=64).map(|port| InboundSpec { port, tags: tags.clone(), ..InboundSpec::default() });
            inbounds.collect::<Vec<_>>()
        };
        assert!(parse(&DataplaneSpec { inbounds: tagged(8), ..spec() }).is_ok());
        let message = error(&DataplaneSpec { inbounds: tagged(9), ..spec() });
        assert_eq!(message, "inbounds: 576 tags in all: at most 512 are allowed, leave some out");
    }

    #[test]
    fn an_error_names_the_invalid_field() {
        type Change = fn(&mut DataplaneSpec);
        let cases: [(Change, &str); 6] = [
            (|s| s.mesh = String::new(), "mesh: is required"),
            (|s| s.mesh = "No".into(), "mesh: \"No\""),
            (|s| s.name = String::new(), "name: is required"),
            (|s| s.namespace = "a.b".into(), "namespace: \"a.b\""),
            (|s| s.zone = "_".into(), "zone: \"_\""),
            (|s| s.address = "x".repeat(300), "address: \"xxx"),
        ];
        for (change, start) in cases {
            let mut spec = spec();
            change(&mut spec);
            assert!(error(&spec).starts_with(start), "{}", error(&spec));
        }
    }
}
