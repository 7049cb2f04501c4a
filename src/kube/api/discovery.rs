//! What there is, told to clients in the two ways they ask: a document for each
//! level, or all at once.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header::CONTENT_TYPE},
    response::Response,
};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::kube::{
    Desk,
    objects::{renderer::Kind, workloads::VERSION},
    protocol::{
        negotiation::Discovery,
        response::{JSON, answer, encode},
    },
};

/// All that can be done with our resources. Kubernetes' garbage collector and its
/// like look for what can be deleted, and leave these alone.
const VERBS: [&str; 3] = ["get", "list", "watch"];

/// What is at the root besides groups, and what of Kubernetes' core.
const PAGES: [&str; 6] = ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
const CORE_PATHS: [&str; 2] = ["/api", "/api/v1"];

/// The documents, written once.
#[derive(Debug)]
pub(crate) struct Documents {
    root: Bytes,
    core: Bytes,
    core_resources: Bytes,
    groups: Bytes,
    group: Bytes,
    resources: Bytes,
    /// All of the core, and of the groups, in each version.
    all_core: [(&'static str, Bytes); 2],
    all_groups: [(&'static str, Bytes); 2],
}

/// A type of objects, as it is told.
#[derive(Debug, Clone, Copy)]
struct Resource<'a> {
    kind: &'a Kind,
    singular: &'static str,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
}

impl Documents {
    pub(crate) fn new(workloads: &Kind, events: &Kind, serves_core: bool) -> Self {
        let workloads =
            Resource { kind: workloads, singular: "workload", short_names: &["wl"], categories: &["kuma"] };
        let events = Resource { kind: events, singular: "event", short_names: &["ev"], categories: &[] };
        let group = &workloads.kind.group;
        let version = json!({"groupVersion": workloads.kind.api_version, "version": VERSION});
        let of_group = json!({"name": group, "versions": [version], "preferredVersion": version});
        let mut paths =
            vec!["/apis".to_owned(), format!("/apis/{group}"), format!("/apis/{group}/{VERSION}")];
        paths.extend(PAGES.map(str::to_owned));
        if serves_core {
            paths.extend(CORE_PATHS.map(str::to_owned));
        }
        paths.sort_unstable();
        let all = |resource: Resource<'_>, version| {
            ["v2", "v2beta1"].map(|of| (of, write(&resource.aggregated(of, version))))
        };
        Self {
            root: write(&json!({"paths": paths})),
            core: write(
                &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
            ),
            core_resources: write(&events.list()),
            groups: write(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [of_group]})),
            group: write(&with_type(of_group.clone(), "APIGroup")),
            resources: write(&workloads.list()),
            all_core: all(events, "v1"),
            all_groups: all(workloads, VERSION),
        }
    }
}

fn with_type(mut document: Value, kind: &str) -> Value {
    document["kind"] = kind.into();
    document["apiVersion"] = "v1".into();
    document
}

impl Resource<'_> {
    fn list(&self) -> Value {
        let Self { kind, singular, short_names, categories } = self;
        json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": kind.api_version,
            "resources": [{
                "name": kind.plural,
                "singularName": singular,
                "namespaced": true,
                "kind": kind.name,
                "verbs": VERBS,
                "shortNames": short_names,
                "categories": categories,
            }],
        })
    }

    fn aggregated(&self, of: &str, version: &str) -> Value {
        let Self { kind, singular, short_names, categories } = self;
        let metadata = if kind.group.is_empty() { json!({}) } else { json!({"name": kind.group}) };
        json!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": format!("apidiscovery.k8s.io/{of}"),
            "metadata": {},
            "items": [{
                "metadata": metadata,
                "versions": [{
                    "version": version,
                    "freshness": "Current",
                    "resources": [{
                        "resource": kind.plural,
                        "responseKind": {"group": kind.group, "version": version, "kind": kind.name},
                        "scope": "Namespaced",
                        "singularResource": singular,
                        "verbs": VERBS,
                        "shortNames": short_names,
                        "categories": categories,
                    }],
                }],
            }],
        })
    }
}

fn write(document: &impl Serialize) -> Bytes {
    encode(document).into()
}

fn plain(document: &Bytes) -> Response {
    answer(JSON, document.clone())
}

/// All at once to those who ask so, and to the others level by level.
fn level(headers: &HeaderMap, one: &Bytes, all: &[(&'static str, Bytes)]) -> Response {
    let Discovery::Aggregated(version) = Discovery::of(headers) else {
        return plain(one);
    };
    let Some((_, document)) = all.iter().find(|(of, _)| *of == version) else {
        return plain(one);
    };
    let mut response = plain(document);
    // Without its parameters clients take it for a document of one level.
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(crate) async fn root(State(desk): State<Arc<Desk>>) -> Response {
    plain(&desk.documents.root)
}

pub(crate) async fn core(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    level(&headers, &desk.documents.core, &desk.documents.all_core)
}

pub(crate) async fn core_resources(State(desk): State<Arc<Desk>>) -> Response {
    plain(&desk.documents.core_resources)
}

pub(crate) async fn groups(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    level(&headers, &desk.documents.groups, &desk.documents.all_groups)
}

pub(crate) async fn group(State(desk): State<Arc<Desk>>) -> Response {
    plain(&desk.documents.group)
}

pub(crate) async fn resources(State(desk): State<Arc<Desk>>) -> Response {
    plain(&desk.documents.resources)
}
