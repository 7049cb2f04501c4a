use std::collections::BTreeMap;

use super::*;
use crate::{
    identity::MeshIdentitySpec,
    model::{DataplaneLimits, DataplaneSpec, Labels, MeshName, ResourceKey},
};

fn labels(labels: &[(&str, &str)]) -> Labels {
    Labels::from_trusted(labels.iter().copied())
}

fn identity(name: &str, required: &[(&str, &str)]) -> MeshIdentity {
    MeshIdentity {
        key: ResourceKey::parse("kuma-system", name).unwrap(),
        mesh: MeshName::parse("", "default").unwrap(),
        labels: labels(&[("kuma.io/mesh", "default"), ("tier", "gold")]),
        spec: MeshIdentitySpec {
            selector: Selector::MatchLabels(labels(required)),
            trust_domain: MeshIdentitySpec::parse_trust_domain("example.com").ok(),
            path: MeshIdentitySpec::parse_path("/workload/{{ .Workload }}").ok(),
            ..MeshIdentitySpec::default()
        },
    }
}

fn dataplane(environment: Environment, own: &[(&str, &str)]) -> Dataplane {
    let labels: BTreeMap<_, _> =
        own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let spec = DataplaneSpec {
        mesh: "default".into(),
        namespace: "shop".into(),
        name: "web-1".into(),
        zone: "east".into(),
        environment,
        labels,
        ..DataplaneSpec::default()
    };
    Dataplane::parse(&spec, DataplaneLimits::PROTOCOL).unwrap()
}

fn web(own: &[(&str, &str)]) -> Dataplane {
    dataplane(Environment::Universal, &[&[("kuma.io/workload", "web")], own].concat())
}

fn selected(identities: &[MeshIdentity], dataplane: &Dataplane) -> Option<String> {
    select(identities, dataplane).map(|identity| identity.key.name.to_string())
}

#[test]
fn most_labels_win_then_the_smallest_name() {
    let identities = [
        identity("a-all", &[]),
        identity("z-team", &[("team", "a")]),
        identity("b-team", &[("team", "a")]),
        identity("c-both", &[("team", "a"), ("kuma.io/workload", "web")]),
        identity("d-other", &[("team", "b"), ("kuma.io/workload", "web"), ("x", "y")]),
    ];
    for (own, expected) in [
        (&[][..], "a-all"),
        (&[("team", "b")], "a-all"),
        (&[("team", "a")], "c-both"),
        (&[("team", "b"), ("x", "y")], "d-other"),
    ] {
        assert_eq!(selected(&identities, &web(own)).as_deref(), Some(expected), "{own:?}");
        let reversed: Vec<_> = identities.iter().rev().cloned().collect();
        assert_eq!(selected(&reversed, &web(own)).as_deref(), Some(expected), "{own:?} reversed");
    }
    assert_eq!(selected(&identities[1..3], &web(&[("team", "a")])).as_deref(), Some("b-team"));
}

#[test]
fn a_selector_of_nothing_and_another_mesh_select_nothing() {
    let mut nothing = identity("nothing", &[]);
    nothing.spec.selector = Selector::Nothing;
    let mut other = identity("other", &[]);
    other.mesh = MeshName::parse("", "other").unwrap();
    assert_eq!(selected(&[nothing, other], &web(&[])), None);
}

#[test]
fn computed_labels_can_be_selected() {
    let kubernetes = dataplane(Environment::Kubernetes, &[("kuma.io/workload", "web")]);
    for (key, value) in [
        ("kuma.io/mesh", "default"),
        ("kuma.io/zone", "east"),
        ("kuma.io/env", "kubernetes"),
        ("k8s.kuma.io/namespace", "shop"),
        ("kuma.io/workload", "web"),
    ] {
        let identities = [identity("x", &[(key, value)])];
        assert_eq!(selected(&identities, &kubernetes).as_deref(), Some("x"), "{key}");
    }
    assert_eq!(selected(&[identity("x", &[("k8s.kuma.io/namespace", "shop")])], &web(&[])), None);
}

fn spiffe_id(identity: &MeshIdentity, dataplane: &Dataplane) -> Result<String, String> {
    identity.identify(dataplane).map(|id| id.to_string()).map_err(|error| error.to_string())
}

#[test]
fn templates_and_their_defaults_give_the_spiffe_id() {
    let workload = identity("x", &[]);
    assert_eq!(spiffe_id(&workload, &web(&[])).unwrap(), "spiffe://example.com/workload/web");

    let mut defaults = identity("x", &[]);
    (defaults.spec.trust_domain, defaults.spec.path) = (None, None);
    assert_eq!(spiffe_id(&defaults, &web(&[])).unwrap(), "spiffe://default.east.mesh.local/workload/web");
    let pod = dataplane(
        Environment::Kubernetes,
        &[("kuma.io/workload", "web"), ("k8s.kuma.io/service-account", "web-sa")],
    );
    assert_eq!(spiffe_id(&defaults, &pod).unwrap(), "spiffe://default.east.mesh.local/ns/shop/sa/web-sa");
    defaults.labels = labels(&[("kuma.io/zone", "north")]);
    assert_eq!(spiffe_id(&defaults, &web(&[])).unwrap(), "spiffe://default.north.mesh.local/workload/web");

    let mut empty = identity("x", &[]);
    empty.spec.path = MeshIdentitySpec::parse_path("").ok();
    assert_eq!(spiffe_id(&empty, &web(&[])).unwrap(), "spiffe://example.com");

    let mut own_label = identity("x", &[]);
    let template = "{{ label \"tier\" }}.{{ .Mesh }}.{{ .Zone }}.example";
    own_label.spec.trust_domain = MeshIdentitySpec::parse_trust_domain(template).ok();
    assert_eq!(spiffe_id(&own_label, &web(&[])).unwrap(), "spiffe://gold.default.east.example/workload/web");
}

#[test]
fn each_reason_for_no_spiffe_id_is_named() {
    let without = dataplane(Environment::Universal, &[("team", "a")]);
    let mut identity = identity("all", &[]);
    assert_eq!(
        spiffe_id(&identity, &without).unwrap_err(),
        "missing required label 'kuma.io/workload' - dataplane is selected by MeshIdentity 'all' with path template \
         '/workload/{{ .Workload }}'"
    );
    identity.spec.path = None;
    assert!(spiffe_id(&identity, &without).unwrap_err().ends_with("'/workload/{{ .Workload }}'"));
    identity.spec.path = MeshIdentitySpec::parse_path("/{{ label \"region\" }}").ok();
    assert_eq!(
        spiffe_id(&identity, &without).unwrap_err(),
        "MeshIdentity 'all' gives the dataplane no SPIFFE ID: label region not found"
    );
    identity.spec.path = MeshIdentitySpec::parse_path("/sa/{{ .ServiceAccount }}/x").ok();
    assert!(spiffe_id(&identity, &without).unwrap_err().ends_with(
        "failed to parse SPIFFE ID \"spiffe://example.com/sa//x\": path cannot contain empty segments"
    ));
    identity.spec.trust_domain = MeshIdentitySpec::parse_trust_domain("{{ label \"missing\" }}").ok();
    assert!(spiffe_id(&identity, &without).unwrap_err().ends_with("label missing not found"));
    identity.labels = labels(&[("missing", "Upper")]);
    assert!(
        spiffe_id(&identity, &without)
            .unwrap_err()
            .contains("\"Upper\": trust domain characters are limited")
    );
}
