//! Discovery documents: which groups, versions and resources the server has, as one document
//! for each level or as one aggregated document.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header::CONTENT_TYPE},
    response::Response,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::kube::{
    objects::kind::Kind,
    protocol::{
        negotiation::DiscoveryFormat,
        response::{JSON, response, to_json},
    },
};

/// The verbs of all resources. Kubernetes' garbage collector and namespace controller skip
/// resources without `delete`.
const VERBS: [&str; 3] = ["get", "list", "watch"];

/// Paths that the root document lists besides the group, and those of the core group.
const PATHS: [&str; 6] = ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
const CORE_PATHS: [&str; 2] = ["/api", "/api/v1"];

/// The discovery documents, serialized once.
#[derive(Debug)]
pub(crate) struct DiscoveryDocuments {
    root: Bytes,
    core_versions: Bytes,
    core_resources: Bytes,
    groups: Bytes,
    group: Bytes,
    resources: Bytes,
    aggregated_core: [(&'static str, Bytes); 2],
    aggregated_groups: [(&'static str, Bytes); 2],
}

/// A resource as discovery describes it.
#[derive(Debug, Clone, Copy)]
struct Resource<'a> {
    kind: &'a Kind,
    singular: &'static str,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
}

impl DiscoveryDocuments {
    /// Builds the documents. The root document lists the core group only if `serves_core`.
    pub(crate) fn new(workloads: &Kind, events: &Kind, serves_core: bool) -> Self {
        let workloads =
            Resource { kind: workloads, singular: "workload", short_names: &["wl"], categories: &["kuma"] };
        let events = Resource { kind: events, singular: "event", short_names: &["ev"], categories: &[] };
        let Kind { group, version, api_version, .. } = workloads.kind;
        let group_version = json!({"groupVersion": api_version, "version": version});
        let api_group =
            json!({"name": group, "versions": [group_version], "preferredVersion": group_version});
        let mut paths =
            vec!["/apis".to_owned(), format!("/apis/{group}"), format!("/apis/{group}/{version}")];
        paths.extend(PATHS.map(str::to_owned));
        if serves_core {
            paths.extend(CORE_PATHS.map(str::to_owned));
        }
        paths.sort_unstable();
        let aggregated = |resource: Resource<'_>| {
            ["v2", "v2beta1"].map(|format| (format, serialize(&resource.aggregated(format))))
        };
        Self {
            root: serialize(&json!({"paths": paths})),
            core_versions: serialize(
                &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
            ),
            core_resources: serialize(&events.list()),
            groups: serialize(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [api_group]})),
            group: serialize(&with_type(api_group.clone(), "APIGroup")),
            resources: serialize(&workloads.list()),
            aggregated_core: aggregated(events),
            aggregated_groups: aggregated(workloads),
        }
    }
}

fn with_type(mut document: Value, kind: &str) -> Value {
    document["kind"] = kind.into();
    document["apiVersion"] = "v1".into();
    document
}

impl Resource<'_> {
    /// The resource as an `APIResourceList`.
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

    /// The resource as an `APIGroupDiscoveryList` of this version of `apidiscovery.k8s.io`.
    fn aggregated(&self, format: &str) -> Value {
        let Self { kind, singular, short_names, categories } = self;
        let metadata = if kind.group.is_empty() { json!({}) } else { json!({"name": kind.group}) };
        json!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": format!("apidiscovery.k8s.io/{format}"),
            "metadata": {},
            "items": [{
                "metadata": metadata,
                "versions": [{
                    "version": kind.version,
                    "freshness": "Current",
                    "resources": [{
                        "resource": kind.plural,
                        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.name},
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

fn serialize(document: &Value) -> Bytes {
    to_json(document).into()
}

fn document_response(document: &Bytes) -> Response {
    response(JSON, document.clone())
}

/// Responds with the format that the client accepts: the document of one level, or the
/// aggregated one.
fn negotiate(headers: &HeaderMap, level: &Bytes, aggregated: &[(&'static str, Bytes)]) -> Response {
    let DiscoveryFormat::Aggregated(format) = DiscoveryFormat::negotiate(headers) else {
        return document_response(level);
    };
    let Some((_, document)) = aggregated.iter().find(|(known, _)| *known == format) else {
        return document_response(level);
    };
    let mut response = document_response(document);
    // Without these parameters clients take the document for one of the level.
    let content_type = match format {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

type Documents = State<Arc<DiscoveryDocuments>>;

pub(crate) async fn root(State(documents): Documents) -> Response {
    document_response(&documents.root)
}

pub(crate) async fn core_versions(State(documents): Documents, headers: HeaderMap) -> Response {
    negotiate(&headers, &documents.core_versions, &documents.aggregated_core)
}

pub(crate) async fn core_resources(State(documents): Documents) -> Response {
    document_response(&documents.core_resources)
}

pub(crate) async fn groups(State(documents): Documents, headers: HeaderMap) -> Response {
    negotiate(&headers, &documents.groups, &documents.aggregated_groups)
}

pub(crate) async fn group(State(documents): Documents) -> Response {
    document_response(&documents.group)
}

pub(crate) async fn resources(State(documents): Documents) -> Response {
    document_response(&documents.resources)
}
