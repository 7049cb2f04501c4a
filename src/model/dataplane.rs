//! Dataplane proxies.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{
    DataplaneName, Health, Invalid, Labels, MeshName, Namespace, WORKLOAD_LABEL, WorkloadKey, WorkloadName,
    ZoneName,
    shared::{share, share_all},
};

/// Tags of all inbounds together: eight for each of 64, which is twice what
/// Kuma's own have. Each costs some hundred bytes for as long as the dataplane
/// is registered.
const MAX_TAGS: usize = 512;
/// Longest host name.
const MAX_ADDRESS: usize = 253;
/// As for a port's name in Kubernetes' services.
const MAX_INBOUND_NAME: usize = 63;
/// Bytes of the longest version of an agent: enough for one with build data.
pub const MAX_AGENT_VERSION: usize = 64;

/// Identifies a dataplane.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DataplaneKey {
    /// Its mesh.
    pub mesh: MeshName,
    /// Its namespace.
    pub namespace: Namespace,
    /// Unique within both.
    pub name: DataplaneName,
}

impl fmt::Display for DataplaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.mesh, self.namespace, self.name)
    }
}

/// Where a dataplane runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Environment {
    /// Anywhere else.
    #[default]
    Universal,
    /// In a Kubernetes pod.
    Kubernetes,
}

/// A port of the application behind a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Never 0.
    pub port: u16,
    /// For people; may be empty.
    pub name: Arc<str>,
    /// By Kuma's rules for tags.
    pub tags: Labels,
}

/// One dataplane proxy, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataplane {
    /// Its identity, shared with the registry's map.
    pub key: Arc<DataplaneKey>,
    /// Its zone, if it names one.
    pub zone: Option<ZoneName>,
    /// Where it runs.
    pub environment: Environment,
    /// As stated.
    pub labels: Labels,
    /// As stated; may be empty.
    pub address: Box<str>,
    /// Each port once, at most [`Health::MAX_INBOUNDS`].
    pub inbounds: Arc<[Inbound]>,
    /// The workload it names, in a label or a tag.
    pub workload: Option<WorkloadName>,
    /// Version of the client that speaks for it.
    pub agent_version: Arc<str>,
}

/// A dataplane as somebody states it, not checked: what the wire and a
/// Dataplane file have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataplaneSpec {
    /// Required.
    pub mesh: String,
    /// Empty means `default`.
    pub namespace: String,
    /// Required.
    pub name: String,
    /// May be empty.
    pub zone: String,
    /// Decides the rule for the workload's name.
    pub environment: Environment,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// May be empty.
    pub address: String,
    /// Inbounds.
    pub inbounds: Vec<InboundSpec>,
    /// May be empty.
    pub agent_version: String,
}

/// An inbound as somebody states it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboundSpec {
    /// 1 to 65535.
    pub port: u32,
    /// May be empty.
    pub name: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// How much a dataplane may state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataplaneLimits {
    /// Labels, and tags of each inbound.
    pub labels: usize,
    /// Inbounds; never more than [`Health::MAX_INBOUNDS`] are taken.
    pub inbounds: usize,
}

impl Default for DataplaneLimits {
    /// 64 labels are four times what a busy pod has; 64 inbounds are what one
    /// word of health bits can hold.
    fn default() -> Self {
        Self { labels: 64, inbounds: Health::MAX_INBOUNDS }
    }
}

impl Dataplane {
    /// Checks a statement. The error names the first field that is wrong.
    pub fn parse(spec: &DataplaneSpec, limits: DataplaneLimits) -> Result<Self, Invalid> {
        let key = Arc::new(DataplaneKey {
            mesh: MeshName::parse("mesh", &spec.mesh)?,
            namespace: Namespace::parse("namespace", &spec.namespace)?,
            name: DataplaneName::parse("name", &spec.name)?,
        });
        let zone = match spec.zone.as_str() {
            "" => None,
            zone => Some(ZoneName::parse("zone", zone)?),
        };
        let labels = Labels::parse("labels", &spec.labels, limits.labels)?;
        let inbounds = parse_inbounds(&spec.inbounds, limits)?;
        let workload = workload_of(spec.environment, &labels, &inbounds)?;
        Ok(Self {
            key,
            zone,
            environment: spec.environment,
            labels,
            address: short_text("address", &spec.address, MAX_ADDRESS)?,
            inbounds,
            workload,
            agent_version: short_text("agent_version", &spec.agent_version, MAX_AGENT_VERSION)?,
        })
    }

    /// The key of the Workload it names.
    pub fn workload_key(&self) -> Option<WorkloadKey> {
        let name = self.workload.clone()?;
        Some(WorkloadKey { namespace: self.key.namespace.clone(), name })
    }

    /// Takes over the memory of what both say alike. Replicas of one workload
    /// differ in little but their names.
    pub fn share(&mut self, other: &Self) {
        if let Some(key) = Arc::get_mut(&mut self.key) {
            share(&mut key.mesh, &other.key.mesh);
            share(&mut key.namespace, &other.key.namespace);
        }
        share(&mut self.zone, &other.zone);
        share(&mut self.workload, &other.workload);
        share(&mut self.agent_version, &other.agent_version);
        self.labels.share(&other.labels);
        share_all(&mut self.inbounds, &other.inbounds, |inbound, others| {
            if let Some(other) = others.iter().find(|other| other.port == inbound.port) {
                share(&mut inbound.name, &other.name);
                inbound.tags.share(&other.tags);
            }
        });
    }

    /// The place of a port among the inbounds.
    pub fn inbound_index(&self, port: u32) -> Option<usize> {
        self.inbounds.iter().position(|inbound| u32::from(inbound.port) == port)
    }
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
    if tags > MAX_TAGS {
        let problem = format!("{tags} tags in all: at most {MAX_TAGS} are allowed, leave some out");
        return Err(Invalid::new("inbounds", problem));
    }
    Ok(inbounds.into())
}

fn parse_inbound(spec: &InboundSpec, limits: DataplaneLimits) -> Result<Inbound, Invalid> {
    let port = u16::try_from(spec.port)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| Invalid::new("port", format!("{}: must be between 1 and 65535", spec.port)))?;
    Ok(Inbound {
        port,
        name: short_text("name", &spec.name, MAX_INBOUND_NAME)?,
        tags: Labels::parse_tags("tags", &spec.tags, limits.labels)?,
    })
}

/// Reads the workload's name from all places that may name it: the label, and
/// on Universal the inbound tags. They must agree.
fn workload_of(
    environment: Environment,
    labels: &Labels,
    inbounds: &[Inbound],
) -> Result<Option<WorkloadName>, Invalid> {
    let label = labels.get(WORKLOAD_LABEL).map(|value| (format!("labels[{WORKLOAD_LABEL:?}]"), value));
    if environment == Environment::Kubernetes {
        return label.map(|(place, value)| WorkloadName::parse_kubernetes(&place, value)).transpose();
    }
    let tags = inbounds.iter().enumerate().filter_map(|(index, inbound)| {
        let value = inbound.tags.get(WORKLOAD_LABEL)?;
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
    use super::*;

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

    fn refusal(spec: &DataplaneSpec) -> String {
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
    fn places_that_disagree_are_refused() {
        let error = refusal(&DataplaneSpec { inbounds: vec![inbound(80, Some("api"))], ..labelled("web") });
        assert_eq!(
            error,
            "inbounds[0].tags[\"kuma.io/workload\"]: \"api\" disagrees with labels[\"kuma.io/workload\"] (\"web\"): give all the same value"
        );
    }

    #[test]
    fn kubernetes_names_are_wider_and_tags_do_not_count() {
        let mut spec = labelled("1.a");
        assert!(refusal(&spec).contains("DNS-1035"));
        spec.environment = Environment::Kubernetes;
        spec.inbounds = vec![inbound(80, Some("other"))];
        assert_eq!(parse(&spec).unwrap().workload.unwrap().as_str(), "1.a");
    }

    #[test]
    fn an_empty_workload_label_is_an_error_and_not_an_absent_one() {
        assert!(refusal(&labelled("")).starts_with("labels[\"kuma.io/workload\"]: is required"));
    }

    #[test]
    fn ports_are_checked_and_unique() {
        let with = |ports: &[u32]| DataplaneSpec {
            inbounds: ports.iter().map(|p| inbound(*p, None)).collect(),
            ..spec()
        };
        assert_eq!(refusal(&with(&[80, 0])), "inbounds[1].port: 0: must be between 1 and 65535");
        assert_eq!(refusal(&with(&[65536])), "inbounds[0].port: 65536: must be between 1 and 65535");
        assert_eq!(
            refusal(&with(&[80, 81, 80])),
            "inbounds[2].port: 80 is declared by inbounds[0] already: declare each port once"
        );
        let ports: Vec<u32> = (1..=65).collect();
        assert!(refusal(&with(&ports)).starts_with("inbounds: 65 inbounds: at most 64"));
        assert_eq!(parse(&with(&ports[..64])).unwrap().inbound_index(64), Some(63));
    }

    #[test]
    fn tags_of_all_inbounds_are_bounded_together() {
        let tagged = |each: usize| {
            let tags: BTreeMap<_, _> = (0..each).map(|tag| (format!("t{tag}"), String::new())).collect();
            let inbounds =
                (1..=64).map(|port| InboundSpec { port, tags: tags.clone(), ..InboundSpec::default() });
            inbounds.collect::<Vec<_>>()
        };
        assert!(parse(&DataplaneSpec { inbounds: tagged(8), ..spec() }).is_ok());
        let error = refusal(&DataplaneSpec { inbounds: tagged(9), ..spec() });
        assert_eq!(error, "inbounds: 576 tags in all: at most 512 are allowed, leave some out");
    }

    #[test]
    fn replicas_share_what_they_have_in_common_and_stay_what_they_are() {
        let replica = |name: &str, version: &str| {
            let mut spec = DataplaneSpec { name: name.into(), ..labelled("web") };
            spec.labels.insert("version".into(), version.into());
            spec.inbounds = vec![inbound(80, Some("web")), inbound(81, None)];
            parse(&spec).unwrap()
        };
        let first = replica("a", "1");
        let (mut sharing, mut sharing_less) = (replica("b", "1"), replica("c", "2"));
        sharing.share(&first);
        sharing_less.share(&first);
        assert_eq!((&sharing, &sharing_less), (&replica("b", "1"), &replica("c", "2")));

        let at = |text: &str| text.as_ptr();
        assert!(Arc::ptr_eq(&sharing.inbounds, &first.inbounds));
        assert_eq!(at(sharing.labels.get("version").unwrap()), at(first.labels.get("version").unwrap()));
        assert_eq!(at(sharing.key.mesh.as_str()), at(first.key.mesh.as_str()));
        assert_eq!(
            at(sharing_less.labels.get(WORKLOAD_LABEL).unwrap()),
            at(first.labels.get(WORKLOAD_LABEL).unwrap())
        );
        assert_ne!(at(sharing_less.labels.get("version").unwrap()), at(first.labels.get("version").unwrap()));
    }

    #[test]
    fn each_bad_name_is_said_with_its_field() {
        type Spoil = fn(&mut DataplaneSpec);
        let cases: [(Spoil, &str); 6] = [
            (|s| s.mesh = String::new(), "mesh: is required"),
            (|s| s.mesh = "No".into(), "mesh: \"No\""),
            (|s| s.name = String::new(), "name: is required"),
            (|s| s.namespace = "a.b".into(), "namespace: \"a.b\""),
            (|s| s.zone = "_".into(), "zone: \"_\""),
            (|s| s.address = "x".repeat(300), "address: 300 bytes"),
        ];
        for (spoil, start) in cases {
            let mut spec = spec();
            spoil(&mut spec);
            assert!(refusal(&spec).starts_with(start), "{}", refusal(&spec));
        }
    }
}
